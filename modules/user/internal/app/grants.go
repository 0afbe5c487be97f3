package app

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"slices"
	"time"

	"cleave/modules/user/internal/domain"
	"cleave/modules/user/internal/store"
	"cleave/platform/auth"
	"cleave/platform/fault"
)

const (
	requestTTL = 15 * time.Minute // to log in and consent
	codeTTL    = time.Minute      // RFC 6749 section 4.1.2 wants it short
)

// Grant is what a client has been given.
type Grant struct {
	Principal auth.Principal // that the access token speaks of
	User      domain.User    // zero for a client of its own
	Access    string
	ExpiresIn time.Duration // of the access token
	Refresh   string        // "" for none
	Nonce     string
	AuthAt    time.Time
	Factors   int // that the user has shown
}

// BeginAuthorization keeps a request for authorisation and returns its id and the secret of the browser that it belongs to.
func (a *App) BeginAuthorization(ctx context.Context, r store.AuthRequest) (id, browser string, err error) {
	r.ID, _ = newToken()
	browser, r.BrowserHash = newToken()
	r.ExpiresAt = a.now().Add(requestTTL)
	return r.ID, browser, a.DB.Tx(ctx, func(ctx context.Context) error { return a.Store.InsertAuthRequest(ctx, r) })
}

// Authorization reads a request that waits in a browser, with its client; ErrRequestExpired when there is none.
func (a *App) Authorization(ctx context.Context, id, browser string) (store.AuthRequest, store.OAuthClient, error) {
	r, ok, err := a.Store.AuthRequest(ctx, id, hashToken(browser), a.now())
	if err == nil && !ok {
		err = domain.ErrRequestExpired
	}
	if err != nil {
		return r, store.OAuthClient{}, err
	}
	c, err := a.Store.Client(ctx, r.ClientID)
	return r, c, err
}

// LogInFor checks a password for a request, as LogIn does. A user with a second factor gets a challenge for LogInSecondFactorFor
// instead: the password alone must not let them in anywhere.
func (a *App) LogInFor(ctx context.Context, r store.AuthRequest, email, password string) (*Challenge, error) {
	u, err := a.authenticate(ctx, email, password)
	if err != nil {
		return nil, err
	}
	if c, err := a.challenge(ctx, u); err != nil || c != nil {
		return c, err
	}
	return nil, a.DB.Tx(ctx, func(ctx context.Context) error { return a.Store.LogInAuthRequest(ctx, r.ID, u.ID, false, a.now()) })
}

// LogInSecondFactorFor answers a challenge of LogInFor with a code, with the refusals and limits of LogInSecondFactor.
func (a *App) LogInSecondFactorFor(ctx context.Context, r store.AuthRequest, token, code string) error {
	return a.answerChallenge(ctx, token, code, func(ctx context.Context, u domain.User) error {
		return a.Store.LogInAuthRequest(ctx, r.ID, u.ID, true, a.now())
	})
}

// Consent gives the request of a user who has logged in a code.
func (a *App) Consent(ctx context.Context, r store.AuthRequest) (code string, err error) {
	code, hash := newToken()
	return code, a.DB.Tx(ctx, func(ctx context.Context) error {
		first, err := a.Store.GrantAuthRequest(ctx, r.ID, hash, a.NewID(), a.now().Add(codeTTL))
		if err == nil && !first {
			err = domain.ErrRequestExpired
		}
		return err
	})
}

// Refuse forgets a request that the user does not consent to.
func (a *App) Refuse(ctx context.Context, r store.AuthRequest) error {
	return a.DB.Tx(ctx, func(ctx context.Context) error { return a.Store.DeleteAuthRequest(ctx, r.ID) })
}

// RedeemCode trades a code for tokens. Whatever is wrong with it is ErrGrant. A code that comes a second time also ends what it
// gave (RFC 9700 section 2.1.1, RFC 6749 section 4.1.2), and one that comes with the wrong client, address or verifier is used up.
func (a *App) RedeemCode(ctx context.Context, c store.OAuthClient, code, redirectURI, verifier string) (Grant, error) {
	hash := hashToken(code)
	var g Grant
	var replayed bool
	var refused error
	err := a.DB.Tx(ctx, func(ctx context.Context) error {
		g, replayed, refused = Grant{}, false, nil // when the transaction runs again
		first, err := a.Store.UseCode(ctx, hash, a.now())
		if err != nil {
			return err
		}
		r, known, err := a.Store.AuthRequestOfCode(ctx, hash)
		switch {
		case err != nil:
			return err
		case !known:
			refused = domain.ErrGrant
		case !first:
			replayed, refused = true, domain.ErrGrant
			return a.endSession(ctx, r.SessionID, r.UserID)
		case r.ClientID != c.ID || r.RedirectURI != redirectURI || !a.now().Before(r.ExpiresAt) || !proves(verifier, r.CodeChallenge):
			refused = domain.ErrGrant
		default:
			g, err = a.openGrant(ctx, c, r)
			if refusal := fault.From(err); refusal != nil && refusal.Kind == fault.Forbidden {
				refused, err = domain.ErrGrant, nil
			}
		}
		return err
	})
	if err == nil && refused != nil {
		err = refused
		if replayed {
			err = domain.ErrGrant.Wrap(errors.New("the code was used before"))
		}
	}
	return g, err
}

// proves checks a PKCE verifier against its S256 challenge (RFC 7636 section 4.6).
func proves(verifier, challenge string) bool {
	sum := sha256.Sum256([]byte(verifier))
	return subtle.ConstantTimeCompare([]byte(base64.RawURLEncoding.EncodeToString(sum[:])), []byte(challenge)) == 1
}

func (a *App) openGrant(ctx context.Context, c store.OAuthClient, r store.AuthRequest) (Grant, error) {
	u, err := a.Store.UserForUpdate(ctx, r.UserID)
	if err != nil {
		return Grant{}, err
	}
	if u.Disabled {
		return Grant{}, domain.ErrLogInDisabled
	}
	now := a.now()
	s := store.Session{ID: r.SessionID, UserID: u.ID, ExpiresAt: now.Add(a.SessionTTL), ClientID: c.ID, Scopes: r.Scopes}
	g, hash, err := a.grant(ctx, u, s, c)
	if err != nil {
		return Grant{}, err
	}
	g.Nonce, g.AuthAt, g.Factors = r.Nonce, r.AuthAt, 1
	if r.SecondFactor {
		g.Factors = 2
	}
	return g, a.openSession(ctx, s, hash, now)
}

// grant makes the tokens of a client's session, and the hash of the refresh token.
func (a *App) grant(ctx context.Context, u domain.User, s store.Session, c store.OAuthClient) (Grant, string, error) {
	roles, err := a.rolesOf(ctx, u)
	if err != nil {
		return Grant{}, "", err
	}
	g := Grant{User: u, Principal: auth.Principal{
		Subject: u.ID, Session: s.ID, Client: c.ID, Generation: u.Version, Roles: roles, Scopes: s.Scopes,
	}}
	refresh, hash := newToken()
	if slices.Contains(s.Scopes, ScopeOffline) && slices.Contains(c.Grants, GrantRefresh) {
		g.Refresh = refresh
	}
	err = a.sign(&g, time.Time{})
	return g, hash, err
}

// sign makes the access token. Its audience is the modules among its scopes, and the issuer itself for the user info (RFC 9068
// section 3, RFC 9700 section 2.3). It expires before notAfter, unless that is zero.
func (a *App) sign(g *Grant, notAfter time.Time) error {
	audience := slices.DeleteFunc(slices.Clone(a.Audience), func(m string) bool { return !slices.Contains(g.Principal.Scopes, m) })
	if slices.Contains(g.Principal.Scopes, ScopeOpenID) || len(audience) == 0 {
		audience = append(audience, a.Issuer)
	}
	access, expires, err := a.Signer.SignFor(g.Principal, audience, notAfter)
	if err != nil {
		return err
	}
	g.Access, g.ExpiresIn = access, expires.Sub(a.now())
	return nil
}

// RefreshGrant is RefreshSession for a client. It may narrow the scopes of the new access token; others are ErrScope.
func (a *App) RefreshGrant(ctx context.Context, c store.OAuthClient, token string, scopes []string) (Grant, error) {
	var g Grant
	err := a.renew(ctx, token, "", c.ID, func(ctx context.Context, u domain.User, s store.Session) (hash string, err error) {
		if len(scopes) > 0 {
			if !subset(scopes, s.Scopes) {
				return "", domain.ErrScope
			}
		}
		g, hash, err = a.grant(ctx, u, s, c)
		if err == nil && len(scopes) > 0 {
			g.Principal.Scopes = scopes
			err = a.sign(&g, time.Time{})
		}
		return hash, err
	})
	return g, err
}

func subset(part, whole []string) bool {
	return !slices.ContainsFunc(part, func(s string) bool { return !slices.Contains(whole, s) })
}

// ClientGrant gives a client a token for itself (RFC 6749 section 4.4); without scopes for all that it may have.
func (a *App) ClientGrant(_ context.Context, c store.OAuthClient, scopes []string) (Grant, error) {
	if len(scopes) == 0 {
		scopes = slices.DeleteFunc(slices.Clone(c.Scopes), func(s string) bool { return !slices.Contains(a.Audience, s) })
	}
	if !subset(scopes, c.Scopes) || !subset(scopes, a.Audience) || len(scopes) == 0 {
		return Grant{}, domain.ErrScope
	}
	g := Grant{Principal: auth.Principal{Subject: c.ID, Client: c.ID, Roles: c.Roles, Scopes: scopes}}
	return g, a.sign(&g, time.Time{})
}

// ExchangeGrant gives a client a token to act for the subject of another one (RFC 8693), which allows no more and lives no longer.
func (a *App) ExchangeGrant(_ context.Context, c store.OAuthClient, subject auth.Principal, scopes []string) (Grant, error) {
	have := subject.Scopes
	if len(have) == 0 { // of a log-in without OAuth
		have = a.Audience
	}
	if len(scopes) == 0 {
		scopes = slices.DeleteFunc(slices.Clone(have), func(s string) bool { return !slices.Contains(c.Scopes, s) })
	}
	scopes = slices.DeleteFunc(slices.Clone(scopes), func(s string) bool { return s == ScopeOffline })
	if !subset(scopes, have) || !subset(scopes, c.Scopes) || len(scopes) == 0 {
		return Grant{}, domain.ErrScope
	}
	p := subject
	p.Client, p.Actor, p.Scopes = c.ID, c.ID, scopes
	g := Grant{Principal: p}
	return g, a.sign(&g, subject.Expires)
}

// RevokeRefreshToken ends the session of a client's refresh token (RFC 7009); false when it is none of the client's.
func (a *App) RevokeRefreshToken(ctx context.Context, c store.OAuthClient, token string) (found bool, err error) {
	err = a.DB.Tx(ctx, func(ctx context.Context) error {
		s, _, known, err := a.Store.SessionOfToken(ctx, hashToken(token))
		if found = known && s.ClientID == c.ID; err != nil || !found {
			return err
		}
		return a.endSession(ctx, s.ID, s.UserID)
	})
	return found, err
}

// EndSession ends a session of a user, as a log-out does.
func (a *App) EndSession(ctx context.Context, id, userID string) error {
	return a.DB.Tx(ctx, func(ctx context.Context) error { return a.endSession(ctx, id, userID) })
}

// Client reads a client.
func (a *App) Client(ctx context.Context, id string) (store.OAuthClient, error) {
	return a.Store.Client(ctx, id)
}

// CheckClientSecret reports whether a secret is the client's.
func CheckClientSecret(c store.OAuthClient, secret string) bool {
	return c.SecretHash != "" && subtle.ConstantTimeCompare([]byte(hashToken(secret)), []byte(c.SecretHash)) == 1
}
