package config

import (
	"net/url"

	"cleave/platform/egress"
)

// Issuer is an outside issuer whose access tokens are accepted beside our own. A claim is named by its path, such as
// realm_access.roles; a name that has dots in it is found as it is.
type Issuer struct {
	// Issuer is its iss, under which its discovery document is found.
	Issuer string `mapstructure:"issuer" validate:"required,issuer_url,max=255" allowed:"an https URL without query or fragment; http on this machine alone"`
	// Audience is what its tokens must be for.
	Audience string `mapstructure:"audience" validate:"required,max=255"`
	// Algorithms are those that may sign its tokens; empty allows RS256, which every OpenID Connect provider has.
	Algorithms []string `mapstructure:"algorithms" validate:"max=10,dive,oneof=RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA"`
	// JWKSURL is where its keys are; empty asks its discovery document.
	JWKSURL string `mapstructure:"jwks_url" validate:"omitempty,issuer_url,max=1024" allowed:"an https URL, or http on this machine alone, or empty"`
	// CAFile are the certificate authorities to believe instead of the system's.
	CAFile string `mapstructure:"ca_file" validate:"max=4096"`
	// TokenFile has a token that it asks for before it shows its keys, as Kubernetes does.
	TokenFile string `mapstructure:"token_file" validate:"max=4096"`
	// Type is what the typ of a token's header must be; empty takes at+jwt, JWT and none.
	Type string `mapstructure:"typ" validate:"max=64"`
	// SubjectClaim is who the token is about, in all tokens of the issuer and for ever; empty is sub.
	SubjectClaim string `mapstructure:"subject_claim" validate:"max=255"`
	// RolesClaim has the values that Roles translates.
	RolesClaim string `mapstructure:"roles_claim" validate:"max=255"`
	// Roles are ours, by what RolesClaim holds.
	Roles []IssuerRole `mapstructure:"roles" validate:"max=256,dive"`
	// ScopeClaim limits a token to what it names; empty does not limit.
	ScopeClaim string `mapstructure:"scope_claim" validate:"max=255"`
	// DefaultRole is for those to whom Roles gives none.
	DefaultRole string `mapstructure:"default_role" validate:"max=64"`
}

// IssuerRole gives a role to those whose roles claim has a value.
type IssuerRole struct {
	Value string `mapstructure:"value" validate:"required,max=255"`
	Role  string `mapstructure:"role" validate:"required,max=64"`
	// Scopes are what the role service may use its permissions for.
	Scopes []string `mapstructure:"scopes" validate:"max=64,dive,required,max=255"`
}

// issuerURL accepts what can be an issuer (OpenID Connect Discovery 1.0 section 3). Over plain http, whoever is on the way could
// bring keys of their own.
func issuerURL(s string) bool {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return false
	}
	return u.Scheme == "https" || u.Scheme == "http" && egress.Loopback(u.Hostname())
}
