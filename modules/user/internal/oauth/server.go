// Package oauth is the OpenID Connect provider: authorisation code with PKCE, client credentials, refresh, token exchange, user
// info, introspection, revocation and logout, with a page to log in and to consent. The library brings the protocol's wire format
// and its validation; what a grant gives is decided in package app, and its access tokens are those of a REST log-in, narrowed.
//
// There is no single sign-on session: each authorisation asks for the password, so that no cookie outlives it.
package oauth

import (
	"context"
	"errors"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"cleave/modules/user/internal/app"
	"cleave/modules/user/internal/domain"
	"cleave/modules/user/internal/keys"
	"cleave/modules/user/internal/store"
	"cleave/platform/auth"
	"cleave/platform/fault"
)

const (
	root          = "/oauth2"
	authorizePath = root + "/authorize"
	loginPath     = root + "/login"
	codePath      = root + "/second-factor"
	consentPath   = root + "/consent"
	idTokenTTL    = 5 * time.Minute
)

// KeysPath is where the public keys of the issuer are.
const KeysPath = "/.well-known/jwks.json"

// Paths are what Handler serves.
var Paths = []string{
	"GET /.well-known/openid-configuration", "GET " + KeysPath,
	"GET " + authorizePath + " write", "POST " + authorizePath + " write", "GET " + loginPath, "POST " + loginPath + " login email", "POST " + codePath + " login",
	"GET " + consentPath, "POST " + consentPath + " write", "POST " + root + "/token write", "POST " + root + "/introspect", "POST " + root + "/revoke",
	"GET " + root + "/userinfo", "POST " + root + "/userinfo", "GET " + root + "/logout", "POST " + root + "/logout",
	"GET " + root + "/logged-out",
}

// Options are what the provider stands on. All fields must be set.
type Options struct {
	App      *app.App
	Ring     *keys.Ring
	Revoked  *auth.Revocations
	Issuer   string
	Audience []string // the modules, whose names are scopes
	Now      func() time.Time
}

// server implements op.Server.
type server struct {
	op.UnimplementedServer
	o        Options
	own      *auth.Verifier // of any token that this issuer has given
	userinfo *auth.Verifier
}

// Handler returns the provider.
func Handler(o Options) http.Handler {
	s := &server{
		o:        o,
		own:      auth.NewVerifier(o.Ring, o.Issuer, auth.AnyAudience, o.Revoked, o.Now),
		userinfo: auth.NewVerifier(o.Ring, o.Issuer, o.Issuer, o.Revoked, o.Now),
	}
	endpoint := func(name string) *op.Endpoint { return op.NewEndpoint(root + "/" + name) }
	protocol := op.RegisterServer(s, op.Endpoints{
		Authorization: endpoint("authorize"), Token: endpoint("token"), Introspection: endpoint("introspect"), Userinfo: endpoint("userinfo"),
		Revocation: endpoint("revoke"), EndSession: endpoint("logout"),
	}, op.WithServerCORSOptions(nil))
	mux := http.NewServeMux()
	mux.Handle("/", bodyOnly(protocol))
	mux.HandleFunc("GET "+KeysPath, o.Ring.JWKS)
	page := template.Must(template.New("pages").Parse(pagesText)) // a part of the program
	p := &pages{app: o.App, issuer: o.Issuer, secure: strings.HasPrefix(o.Issuer, "https://"), page: page}
	p.register(mux)
	return mux
}

// bodyOnly refuses credentials in the URL, where logs and histories would keep them (RFC 6749 section 2.3.1, RFC 6750 section 5.3):
// the library reads parameters from both places.
func bodyOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case root + "/token", root + "/introspect", root + "/revoke", root + "/userinfo":
			if r.URL.RawQuery != "" {
				op.WriteError(w, r, oidc.ErrInvalidRequest().WithDescription("parameters belong into the body"), nil)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// Discovery implements op.Server (OpenID Connect Discovery 1.0 section 3, RFC 8414, RFC 9207).
func (s *server) Discovery(context.Context, *op.Request[struct{}]) (*op.Response, error) {
	at := func(name string) string { return strings.TrimRight(s.o.Issuer, "/") + root + "/" + name }
	secret := []oidc.AuthMethod{oidc.AuthMethodBasic, oidc.AuthMethodPost}
	return op.NewResponse(struct {
		oidc.DiscoveryConfiguration
		IssInResponse bool `json:"authorization_response_iss_parameter_supported"`
	}{oidc.DiscoveryConfiguration{
		Issuer: s.o.Issuer, AuthorizationEndpoint: at("authorize"), TokenEndpoint: at("token"), IntrospectionEndpoint: at("introspect"),
		UserinfoEndpoint: at("userinfo"), RevocationEndpoint: at("revoke"), EndSessionEndpoint: at("logout"),
		JwksURI:                strings.TrimRight(s.o.Issuer, "/") + KeysPath,
		ScopesSupported:        append([]string{app.ScopeOpenID, app.ScopeProfile, app.ScopeEmail, app.ScopeOffline}, s.o.Audience...),
		ResponseTypesSupported: []string{"code"}, ResponseModesSupported: []string{"query"},
		GrantTypesSupported:   []oidc.GrantType{oidc.GrantTypeCode, oidc.GrantTypeRefreshToken, oidc.GrantTypeClientCredentials, oidc.GrantTypeTokenExchange},
		SubjectTypesSupported: []string{"public"}, IDTokenSigningAlgValuesSupported: []string{"ES256"},
		TokenEndpointAuthMethodsSupported:         append(secret, oidc.AuthMethodNone),
		RevocationEndpointAuthMethodsSupported:    append(secret, oidc.AuthMethodNone),
		IntrospectionEndpointAuthMethodsSupported: secret,
		ClaimsSupported:                           []string{"sub", "iss", "aud", "exp", "iat", "auth_time", "nonce", "sid", "at_hash", "name", "email", "email_verified"},
		CodeChallengeMethodsSupported:             []oidc.CodeChallengeMethod{oidc.CodeChallengeMethodS256},
	}, true}), nil
}

// VerifyAuthRequest implements op.Server.
func (s *server) VerifyAuthRequest(ctx context.Context, r *op.Request[oidc.AuthRequest]) (*op.ClientRequest[oidc.AuthRequest], error) {
	c, err := s.o.App.Client(ctx, r.Data.ClientID)
	if err != nil {
		return nil, s.refusal(err, oidc.ErrInvalidRequestRedirectURI().WithDescription("the client is not known"))
	}
	return &op.ClientRequest[oidc.AuthRequest]{Request: r, Client: client{c}}, nil
}

// Authorize implements op.Server: the library has checked client, redirect URI and response type.
func (s *server) Authorize(ctx context.Context, r *op.ClientRequest[oidc.AuthRequest]) (*op.Redirect, error) {
	q := r.Data
	switch {
	case q.RequestParam != "" || r.Form.Get("request_uri") != "":
		return nil, oidc.ErrRequestNotSupported()
	case !slices.Contains(r.Client.GrantTypes(), oidc.GrantTypeCode):
		return nil, oidc.ErrUnauthorizedClient()
	case q.ResponseMode != "" && q.ResponseMode != oidc.ResponseModeQuery:
		return nil, oidc.ErrInvalidRequest().WithDescription("the response mode must be query")
	case q.CodeChallengeMethod != oidc.CodeChallengeMethodS256 || len(q.CodeChallenge) != 43: // RFC 9700 section 2.1.1
		return nil, oidc.ErrInvalidRequest().WithDescription("PKCE with S256 is required")
	case slices.Contains(q.Prompt, oidc.PromptNone):
		return nil, oidc.ErrLoginRequired()
	case len(q.State) > 2048 || len(q.Nonce) > 2048:
		return nil, oidc.ErrInvalidRequest().WithDescription("state and nonce are limited to 2048 characters")
	}
	scopes := slices.DeleteFunc(slices.Clone([]string(q.Scopes)), func(sc string) bool { return !r.Client.IsScopeAllowed(sc) })
	if len(scopes) == 0 {
		return nil, oidc.ErrInvalidScope()
	}
	id, browser, err := s.o.App.BeginAuthorization(ctx, store.AuthRequest{
		ClientID: q.ClientID, RedirectURI: q.RedirectURI, Scopes: scopes, State: q.State, Nonce: q.Nonce, CodeChallenge: q.CodeChallenge,
	})
	if err != nil {
		return nil, oidc.ErrServerError().WithParent(err)
	}
	redirect := op.NewRedirect(r.Client.LoginURL(id))
	redirect.Header.Set("Set-Cookie", browserCookie(strings.HasPrefix(s.o.Issuer, "https://"), browser).String())
	return redirect, nil
}

// VerifyClient implements op.Server.
func (s *server) VerifyClient(ctx context.Context, r *op.Request[op.ClientCredentials]) (op.Client, error) {
	invalid := op.NewStatusError(oidc.ErrInvalidClient(), http.StatusUnauthorized) // RFC 6749 section 5.2
	c, err := s.o.App.Client(ctx, r.Data.ClientID)
	switch {
	case err != nil:
		return nil, s.refusal(err, invalid)
	case r.Data.ClientAssertion != "":
		return nil, invalid
	case c.SecretHash != "" && !app.CheckClientSecret(c, r.Data.ClientSecret), c.SecretHash == "" && r.Data.ClientSecret != "":
		return nil, invalid
	}
	return client{c}, nil
}

// CodeExchange implements op.Server.
func (s *server) CodeExchange(ctx context.Context, r *op.ClientRequest[oidc.AccessTokenRequest]) (*op.Response, error) {
	g, err := s.o.App.RedeemCode(ctx, r.Client.(client).OAuthClient, r.Data.Code, r.Data.RedirectURI, r.Data.CodeVerifier)
	if err != nil {
		return nil, s.refusal(err, oidc.ErrInvalidGrant())
	}
	return s.tokens(g)
}

// RefreshToken implements op.Server.
func (s *server) RefreshToken(ctx context.Context, r *op.ClientRequest[oidc.RefreshTokenRequest]) (*op.Response, error) {
	g, err := s.o.App.RefreshGrant(ctx, r.Client.(client).OAuthClient, r.Data.RefreshToken, r.Data.Scopes)
	if err != nil {
		return nil, s.refusal(err, oidc.ErrInvalidGrant())
	}
	return s.tokens(g)
}

// ClientCredentialsExchange implements op.Server.
func (s *server) ClientCredentialsExchange(ctx context.Context, r *op.ClientRequest[oidc.ClientCredentialsRequest]) (*op.Response, error) {
	g, err := s.o.App.ClientGrant(ctx, r.Client.(client).OAuthClient, r.Data.Scope)
	if err != nil {
		return nil, s.refusal(err, oidc.ErrInvalidScope())
	}
	return s.tokens(g)
}

// TokenExchange implements op.Server: an access token of ours for one that lets the client act for the same user.
func (s *server) TokenExchange(ctx context.Context, r *op.ClientRequest[oidc.TokenExchangeRequest]) (*op.Response, error) {
	own := []oidc.TokenType{"", oidc.AccessTokenType, oidc.JWTTokenType}
	if r.Client.AuthMethod() == oidc.AuthMethodNone {
		return nil, oidc.ErrUnauthorizedClient()
	}
	if !slices.Contains(own[1:], r.Data.SubjectTokenType) || !slices.Contains(own, r.Data.RequestedTokenType) || r.Data.ActorToken != "" || len(r.Data.Resource) > 0 {
		return nil, oidc.ErrInvalidRequest().WithDescription("only access tokens of this issuer are exchanged, for access tokens, without actor token or resource")
	}
	subject, err := s.own.Verify(ctx, r.Data.SubjectToken)
	if err != nil {
		return nil, s.refusal(err, oidc.ErrInvalidRequest().WithDescription("the subject token is not valid"))
	}
	scopes := append(slices.Clone([]string(r.Data.Scopes)), r.Data.Audience...) // a module is a scope and an audience
	g, err := s.o.App.ExchangeGrant(ctx, r.Client.(client).OAuthClient, subject, scopes)
	if err != nil {
		return nil, s.refusal(err, oidc.ErrInvalidScope())
	}
	return op.NewResponse(&oidc.TokenExchangeResponse{
		AccessToken: g.Access, IssuedTokenType: oidc.AccessTokenType, TokenType: oidc.BearerToken, ExpiresIn: uint64(g.ExpiresIn.Seconds()),
		Scopes: g.Principal.Scopes,
	}), nil
}

// tokens is the answer of the token endpoint.
func (s *server) tokens(g app.Grant) (*op.Response, error) {
	out := &oidc.AccessTokenResponse{
		AccessToken: g.Access, TokenType: oidc.BearerToken, RefreshToken: g.Refresh, ExpiresIn: uint64(g.ExpiresIn.Seconds()), Scope: g.Principal.Scopes,
	}
	if g.User.ID != "" && slices.Contains(g.Principal.Scopes, app.ScopeOpenID) {
		var err error
		if out.IDToken, err = s.idToken(g); err != nil {
			return nil, oidc.ErrServerError().WithParent(err)
		}
	}
	return op.NewResponse(out), nil
}

// refusal is known for what the requester did wrong, and a server error for anything else.
func (s *server) refusal(err, known error) error {
	f := fault.From(err)
	switch {
	case errors.Is(err, domain.ErrScope):
		return oidc.ErrInvalidScope()
	case f.Kind == fault.Invalid, f.Kind == fault.NotFound, f.Kind == fault.Unauthenticated, f.Kind == fault.Forbidden, f.Kind == fault.Unprocessable:
		return known
	case f.Kind == fault.Unavailable, f.Kind == fault.Exhausted:
		return op.NewStatusError(oidc.ErrServerError().WithParent(err), http.StatusServiceUnavailable)
	}
	return oidc.ErrServerError().WithParent(err)
}
