package app

import (
	"context"
	"errors"

	"cleave/modules/user/internal/domain"
	"cleave/platform/db"
)

// errReused says that a refresh token was presented a second time: one of its two holders must be a thief.
var errReused = errors.New("the refresh token was used before")

// RefreshSession trades a refresh token for a new pair. A token that is unknown, of an ended session, or used before is
// ErrRefreshToken; the latter also ends the session, with all tokens that descend from its log-in (RFC 9700 section 4.14.2).
// A disabled user gets ErrLogInDisabled.
func (a *App) RefreshSession(ctx context.Context, token string) (Tokens, error) {
	hash := hashToken(token)
	var tokens Tokens
	err := a.DB.Tx(ctx, func(ctx context.Context) (err error) {
		tokens, err = a.refresh(ctx, hash)
		return err
	})
	if errors.Is(err, errReused) {
		if err := a.revokeFamily(ctx, hash); err != nil {
			return Tokens{}, err
		}
		return Tokens{}, domain.ErrRefreshToken
	}
	return tokens, err
}

func (a *App) refresh(ctx context.Context, hash []byte) (Tokens, error) {
	now := a.now()
	first, err := a.Store.UseRefreshToken(ctx, hash, now)
	if err != nil {
		return Tokens{}, err
	}
	s, known, err := a.Store.SessionOfToken(ctx, hash)
	switch {
	case err != nil:
		return Tokens{}, err
	case !known, s.Revoked, !now.Before(s.ExpiresAt):
		return Tokens{}, domain.ErrRefreshToken
	case !first:
		return Tokens{}, errReused
	}
	u, err := a.Store.User(ctx, s.UserID)
	if err != nil {
		return Tokens{}, err
	}
	if u.Disabled {
		return Tokens{}, domain.ErrLogInDisabled
	}
	tokens, next, err := a.tokens(u, s.ID, now)
	if err != nil {
		return Tokens{}, err
	}
	return tokens, a.Store.InsertRefreshToken(ctx, s.ID, next, now)
}

// revokeFamily ends the session of a token. It does so in a transaction of its own, because the request that brought the
// token is refused and keeps nothing.
func (a *App) revokeFamily(ctx context.Context, hash []byte) error {
	ctx = db.Detach(ctx)
	return a.DB.Tx(ctx, func(ctx context.Context) error {
		s, known, err := a.Store.SessionOfToken(ctx, hash)
		if err != nil || !known {
			return err
		}
		return a.Store.RevokeSession(ctx, s.ID, s.UserID, a.now())
	})
}
