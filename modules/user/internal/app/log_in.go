package app

import (
	"context"
	"errors"
	"time"

	"cleave/modules/user/internal/domain"
	"cleave/modules/user/internal/store"
	"cleave/platform/auth"
)

// Tokens are what a session gives its user.
type Tokens struct {
	UserID    string
	Access    string
	ExpiresIn time.Duration // of the access token
	Refresh   string
}

// LogIn begins a session. A wrong address and a wrong password are both ErrCredentials and take the same work; a disabled
// user learns of it, as ErrLogInDisabled, only by the right password.
func (a *App) LogIn(ctx context.Context, email, password string) (Tokens, error) {
	u, err := a.Store.UserByEmail(ctx, domain.Email(email))
	if errors.Is(err, domain.ErrUserNotFound) {
		if err := a.Passwords.Pretend(ctx, password); err != nil {
			return Tokens{}, err
		}
		return Tokens{}, domain.ErrCredentials
	}
	if err != nil {
		return Tokens{}, err
	}
	ok, err := a.Passwords.Verify(ctx, u.PasswordHash, password)
	switch {
	case err != nil:
		return Tokens{}, err
	case !ok:
		return Tokens{}, domain.ErrCredentials
	case u.Disabled:
		return Tokens{}, domain.ErrLogInDisabled
	}
	now := a.now()
	s := store.Session{ID: a.NewID(), UserID: u.ID, ExpiresAt: now.Add(a.SessionTTL)}
	tokens, hash, err := a.tokens(u, s.ID, now)
	if err != nil {
		return Tokens{}, err
	}
	return tokens, a.DB.Tx(ctx, func(ctx context.Context) error { return a.Store.InsertSession(ctx, s, hash, now) })
}

// tokens makes a pair for a session, and the hash of its refresh token.
func (a *App) tokens(u domain.User, sessionID string, now time.Time) (Tokens, string, error) {
	access, expires, err := a.Keys.signer.Sign(auth.Principal{Subject: u.ID, Session: sessionID, Roles: u.Roles})
	if err != nil {
		return Tokens{}, "", err
	}
	refresh, hash := newToken()
	return Tokens{UserID: u.ID, Access: access, ExpiresIn: expires.Sub(now), Refresh: refresh}, hash, nil
}
