package module

import (
	"cmp"
	"errors"
	"fmt"

	"cleave/platform/auth"
	"cleave/platform/auth/discovery"
	"cleave/platform/config"
)

// OutsideIssuers are those of the configuration. It refuses a role that no policy knows, and our own name: both would only show in
// requests that are refused for no visible reason.
func OutsideIssuers(cfg *config.Config, policy *auth.Policy, o Options) (*auth.Issuers, error) {
	list := make([]auth.OutsideIssuer, len(cfg.Auth.Issuers))
	for n, i := range cfg.Auth.Issuers {
		list[n] = outsideIssuer(i)
		list[n].SubjectClaim = cmp.Or(i.SubjectClaim, list[n].SubjectClaim)
		list[n].Audience, list[n].RolesClaim, list[n].ScopeClaim, list[n].DefaultRole = i.Audience, i.RolesClaim, i.ScopeClaim, i.DefaultRole
		for _, r := range i.Roles {
			list[n].Roles = append(list[n].Roles, auth.RoleMapping{Value: r.Value, Role: r.Role, Scopes: r.Scopes})
		}
	}
	issuers, err := auth.NewIssuers(list, o.Log, o.Now)
	if err != nil {
		return nil, fmt.Errorf("auth.issuers: %w", err)
	}
	if issuers.Has(cfg.Auth.Issuer) {
		return nil, errors.New("auth.issuers: auth.issuer is this process's own issuer, and cannot be an outside one")
	}
	for _, role := range issuers.Roles() {
		if !policy.HasRole(role) {
			return nil, fmt.Errorf("auth.issuers: no policy knows the role %q", role)
		}
	}
	return issuers, nil
}

// outsideIssuer is what the tokens of i have in common, whoever they are for.
func outsideIssuer(i config.Issuer) auth.OutsideIssuer {
	o := auth.OutsideIssuer{
		Issuer: i.Issuer, Algorithms: i.Algorithms, Type: i.Type, SubjectClaim: "sub",
		Keys: discovery.Source{Issuer: i.Issuer, JWKS: i.JWKSURL, CAFile: i.CAFile, TokenFile: i.TokenFile}.Keys,
	}
	if len(i.Algorithms) == 0 {
		o.Algorithms = []string{"RS256"} // OpenID Connect Core section 15.1
	}
	return o
}
