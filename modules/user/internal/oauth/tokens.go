package oauth

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/golang-jwt/jwt/v5"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"cleave/modules/user/internal/app"
	"cleave/modules/user/internal/domain"
)

// idToken says who has logged in, to the client alone (OpenID Connect Core section 2). Its typ keeps it from being taken for an
// access token (RFC 8725 section 3.11).
func (s *server) idToken(g app.Grant) (string, error) {
	now := s.o.Now()
	sum := sha256.Sum256([]byte(g.Access))
	claims := jwt.MapClaims{
		"iss": s.o.Issuer, "sub": g.User.ID, "aud": g.Principal.Client, "azp": g.Principal.Client, "iat": now.Unix(), "exp": now.Add(idTokenTTL).Unix(),
		"sid": g.Principal.Session, "at_hash": base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2]),
	}
	if g.Nonce != "" {
		claims["nonce"] = g.Nonce
	}
	if !g.AuthAt.IsZero() {
		claims["auth_time"], claims["amr"] = g.AuthAt.Unix(), []string{"pwd"}
		if g.Factors > 1 {
			claims["amr"] = []string{"pwd", "otp", "mfa"} // RFC 8176 section 2
		}
	}
	t := jwt.NewWithClaims(jwt.SigningMethodES256, claims)
	key := s.o.Ring.Signing()
	t.Header["kid"] = key.ID
	token, err := t.SignedString(key.Private)
	if err != nil {
		return "", fmt.Errorf("sign an id token: %w", err)
	}
	return token, nil
}

// UserInfo implements op.Server (OpenID Connect Core section 5.3).
func (s *server) UserInfo(ctx context.Context, r *op.Request[oidc.UserInfoRequest]) (*op.Response, error) {
	p, err := s.userinfo.Verify(ctx, r.Data.AccessToken)
	if err != nil || !slices.Contains(p.Scopes, app.ScopeOpenID) {
		return nil, op.NewStatusError(oidc.ErrAccessDenied().WithDescription("the access token is not valid here"), http.StatusUnauthorized)
	}
	u, err := s.o.App.User(ctx, p.Subject)
	if err != nil {
		return nil, s.refusal(err, op.NewStatusError(oidc.ErrAccessDenied(), http.StatusUnauthorized))
	}
	return op.NewResponse(s.claims(u, p.Scopes)), nil
}

func (s *server) claims(u domain.User, scopes []string) *oidc.UserInfo {
	info := &oidc.UserInfo{Subject: u.ID}
	if slices.Contains(scopes, app.ScopeProfile) {
		info.Name = u.DisplayName
	}
	if slices.Contains(scopes, app.ScopeEmail) {
		info.Email = string(u.Email) // never an identity, and not verified
	}
	return info
}

// Introspect implements op.Server (RFC 7662). A client with a secret may ask about any access token: it is a resource server then.
func (s *server) Introspect(ctx context.Context, r *op.Request[op.IntrospectionRequest]) (*op.Response, error) {
	c, err := s.VerifyClient(ctx, &op.Request[op.ClientCredentials]{Data: r.Data.ClientCredentials})
	if err != nil {
		return nil, err
	}
	if c.AuthMethod() == oidc.AuthMethodNone {
		return nil, op.NewStatusError(oidc.ErrInvalidClient(), http.StatusUnauthorized)
	}
	p, err := s.own.Verify(ctx, r.Data.Token)
	if err != nil {
		return op.NewResponse(&oidc.IntrospectionResponse{}), nil
	}
	out := &oidc.IntrospectionResponse{
		Active: true, Scope: p.Scopes, ClientID: p.Client, TokenType: oidc.BearerToken, Expiration: oidc.FromTime(p.Expires), Subject: p.Subject,
		Audience: p.Audience, Issuer: p.Issuer, Claims: map[string]any{"sid": p.Session},
	}
	if p.Actor != "" {
		out.Actor = &oidc.ActorClaims{Subject: p.Actor}
	}
	return op.NewResponse(out), nil
}

// Revocation implements op.Server (RFC 7009). Either token of a session ends the session with all its tokens. A token that is not
// the client's, or none at all, is answered in the same way and ends nothing.
func (s *server) Revocation(ctx context.Context, r *op.ClientRequest[oidc.RevocationRequest]) (*op.Response, error) {
	found, err := s.o.App.RevokeRefreshToken(ctx, r.Client.(client).OAuthClient, r.Data.Token)
	if err != nil {
		return nil, oidc.ErrServerError().WithParent(err)
	}
	if p, err := s.own.Verify(ctx, r.Data.Token); !found && err == nil && p.Client == r.Client.GetID() {
		if p.Session == "" || p.Actor != "" {
			return nil, oidc.ErrInvalidRequest().WithDescription("this access token has no session of the client's: it expires by itself")
		}
		if err := s.o.App.EndSession(ctx, p.Session, p.Subject); err != nil {
			return nil, oidc.ErrServerError().WithParent(err)
		}
	}
	return op.NewResponse(struct{}{}), nil
}

// EndSession implements op.Server (OpenID Connect RP-Initiated Logout 1.0). The id token says which session ends; it may have expired.
func (s *server) EndSession(ctx context.Context, r *op.Request[oidc.EndSessionRequest]) (*op.Redirect, error) {
	q := r.Data
	if q.IdTokenHint == "" {
		return nil, oidc.ErrInvalidRequest().WithDescription("id_token_hint is missing: it says which session ends")
	}
	public, err := s.o.Ring.PublicKeys(ctx)
	if err != nil {
		return nil, oidc.ErrServerError().WithParent(err)
	}
	var c struct {
		jwt.RegisteredClaims
		Session string `json:"sid"`
	}
	_, err = jwt.NewParser(jwt.WithValidMethods([]string{"ES256"}), jwt.WithoutClaimsValidation(), jwt.WithStrictDecoding()).
		ParseWithClaims(q.IdTokenHint, &c, func(t *jwt.Token) (any, error) {
			kid, _ := t.Header["kid"].(string)
			if key := public[kid]; key != nil && t.Header["typ"] == "JWT" {
				return key, nil
			}
			return nil, jwt.ErrTokenUnverifiable
		})
	if err != nil || c.Issuer != s.o.Issuer || len(c.Audience) != 1 || q.ClientID != "" && q.ClientID != c.Audience[0] {
		return nil, oidc.ErrInvalidRequest().WithDescription("id_token_hint is not valid")
	}
	target := root + "/logged-out"
	if q.PostLogoutRedirectURI != "" {
		registered, err := s.o.App.Client(ctx, c.Audience[0])
		if err != nil || !slices.Contains(registered.PostLogoutURIs, q.PostLogoutRedirectURI) {
			return nil, oidc.ErrInvalidRequest().WithDescription("post_logout_redirect_uri is not registered")
		}
		u, err := url.Parse(q.PostLogoutRedirectURI)
		if err != nil {
			return nil, oidc.ErrServerError().WithParent(err)
		}
		if q.State != "" {
			values := u.Query()
			values.Set("state", q.State)
			u.RawQuery = values.Encode()
		}
		target = u.String()
	}
	if err := s.o.App.EndSession(ctx, c.Session, c.Subject); err != nil {
		return nil, oidc.ErrServerError().WithParent(err)
	}
	return op.NewRedirect(target), nil
}
