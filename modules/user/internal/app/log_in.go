package app

import (
	"context"
	"errors"
	"time"

	"cleave/modules/user/internal/domain"
	"cleave/modules/user/internal/store"
	"cleave/platform/auth"
)

// ownClient is the client_id of tokens that a log-in through the REST API gives, without OAuth (RFC 9068 section 2.2 wants one).
const ownClient = "cleave"

// Tokens are what a session gives its user.
type Tokens struct {
	UserID    string
	Access    string
	ExpiresIn time.Duration // of the access token
	Refresh   string
	Challenge *Challenge // instead of all that: the second factor is missing
}

// LogIn begins a session. A wrong address and a wrong password are both ErrCredentials and take the same work; a disabled
// user learns of it, as ErrLogInDisabled, only by the right password.
func (a *App) LogIn(ctx context.Context, email, password string) (Tokens, error) {
	u, err := a.authenticate(ctx, email, password)
	if err != nil {
		return Tokens{}, err
	}
	if c, err := a.challenge(ctx, u); err != nil || c != nil {
		return Tokens{Challenge: c}, err
	}
	var tokens Tokens
	err = a.DB.Tx(ctx, func(ctx context.Context) (err error) {
		tokens, err = a.beginSession(ctx, u)
		return err
	})
	return tokens, err
}

// authenticate returns the user whose address and password these are, with the refusals of LogIn.
func (a *App) authenticate(ctx context.Context, email, password string) (domain.User, error) {
	u, err := a.Store.UserByEmail(ctx, domain.Email(email))
	if errors.Is(err, domain.ErrUserNotFound) {
		if err := a.Passwords.Pretend(ctx, password); err != nil {
			return domain.User{}, err
		}
		return domain.User{}, domain.ErrCredentials
	}
	if err != nil {
		return domain.User{}, err
	}
	ok, err := a.Passwords.Verify(ctx, u.PasswordHash, password)
	switch {
	case err != nil:
		return domain.User{}, err
	case !ok:
		return domain.User{}, domain.ErrCredentials
	case u.Disabled:
		return domain.User{}, domain.ErrLogInDisabled
	case a.RequireVerified && !u.EmailVerified:
		return domain.User{}, domain.ErrCredentials // anything else would tell that the address was free to register
	}
	return u, nil
}

// beginSession makes a session for a user whose password was right a moment ago: checking it takes long enough for the user to
// be disabled, or for the password to change, in the meantime.
func (a *App) beginSession(ctx context.Context, checked domain.User) (Tokens, error) {
	u, err := a.Store.UserForUpdate(ctx, checked.ID)
	switch {
	case err != nil:
		return Tokens{}, err
	case u.PasswordHash != checked.PasswordHash:
		return Tokens{}, domain.ErrCredentials
	case u.Disabled:
		return Tokens{}, domain.ErrLogInDisabled
	}
	now := a.now()
	s := store.Session{ID: a.NewID(), UserID: u.ID, ExpiresAt: now.Add(a.SessionTTL), Client: clientOf(ctx)}
	tokens, hash, err := a.tokens(ctx, u, s.ID, now)
	if err != nil {
		return Tokens{}, err
	}
	return tokens, a.openSession(ctx, s, hash, now)
}

// tokens makes a pair for a session, and the hash of its refresh token.
func (a *App) tokens(ctx context.Context, u domain.User, sessionID string, now time.Time) (Tokens, string, error) {
	roles, err := a.rolesOf(ctx, u)
	if err != nil {
		return Tokens{}, "", err
	}
	access, expires, err := a.Signer.Sign(auth.Principal{
		Subject: u.ID, Session: sessionID, Client: ownClient, Generation: u.Version, Roles: roles,
	})
	if err != nil {
		return Tokens{}, "", err
	}
	refresh, hash := newToken()
	return Tokens{UserID: u.ID, Access: access, ExpiresIn: expires.Sub(now), Refresh: refresh}, hash, nil
}
