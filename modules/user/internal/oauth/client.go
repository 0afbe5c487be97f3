package oauth

import (
	"slices"
	"strings"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"cleave/modules/user/internal/store"
)

// client is a registered client as the protocol library sees it.
type client struct{ store.OAuthClient }

var _ op.Client = client{}

func (c client) GetID() string                    { return c.ID }
func (c client) RedirectURIs() []string           { return c.OAuthClient.RedirectURIs }
func (c client) PostLogoutRedirectURIs() []string { return c.PostLogoutURIs }
func (c client) ResponseTypes() []oidc.ResponseType {
	return []oidc.ResponseType{oidc.ResponseTypeCode}
}

func (c client) LoginURL(id string) string { return loginPath + "?request=" + id }

func (c client) AccessTokenType() op.AccessTokenType                          { return op.AccessTokenTypeJWT }
func (c client) IDTokenLifetime() time.Duration                               { return idTokenTTL }
func (c client) DevMode() bool                                                { return false }
func (c client) RestrictAdditionalIdTokenScopes() func([]string) []string     { return keep }
func (c client) RestrictAdditionalAccessTokenScopes() func([]string) []string { return keep }
func (c client) IsScopeAllowed(scope string) bool                             { return slices.Contains(c.Scopes, scope) }
func (c client) IDTokenUserinfoClaimsAssertion() bool                         { return false }
func (c client) ClockSkew() time.Duration                                     { return 0 }

func keep(scopes []string) []string { return scopes }

// ApplicationType decides which redirect URIs are accepted: http only for public clients on the loopback interface (RFC 8252
// section 7.3), whose port may differ from the registered one.
func (c client) ApplicationType() op.ApplicationType {
	local := slices.ContainsFunc(c.OAuthClient.RedirectURIs, func(u string) bool { return strings.HasPrefix(u, "http://") })
	if local {
		return op.ApplicationTypeNative
	}
	return op.ApplicationTypeWeb
}

func (c client) AuthMethod() oidc.AuthMethod {
	if c.SecretHash == "" {
		return oidc.AuthMethodNone
	}
	return oidc.AuthMethodBasic
}

func (c client) GrantTypes() []oidc.GrantType {
	grants := make([]oidc.GrantType, len(c.Grants))
	for i, g := range c.Grants {
		grants[i] = oidc.GrantType(g)
	}
	return grants
}
