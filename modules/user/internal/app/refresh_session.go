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
//
// The requestKey, "" for none, is the client's name for this request. The request that has used the token and arrives once
// more is refused as well, but ends nothing: it is the platform that has its first answer.
func (a *App) RefreshSession(ctx context.Context, token, requestKey string) (Tokens, error) {
	hash := hashToken(token)
	if requestKey != "" {
		requestKey = hashToken(requestKey)
	}
	var tokens Tokens
	err := a.DB.Tx(ctx, func(ctx context.Context) (err error) {
		tokens, err = a.refresh(ctx, hash, requestKey)
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

func (a *App) refresh(ctx context.Context, hash, requestKey string) (Tokens, error) {
	now := a.now()
	first, err := a.Store.UseRefreshToken(ctx, hash, requestKey, now)
	if err != nil {
		return Tokens{}, err
	}
	s, usedKey, known, err := a.Store.SessionOfToken(ctx, hash)
	switch {
	case err != nil:
		return Tokens{}, err
	case !known, s.Revoked, !now.Before(s.ExpiresAt), !first && requestKey != "" && requestKey == usedKey:
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
	if err := a.Store.TouchSession(ctx, s.ID, clientOf(ctx), now); err != nil {
		return Tokens{}, err
	}
	return tokens, a.Store.InsertRefreshToken(ctx, s.ID, next, now)
}

// revokeFamily ends the session of a token. It does so in a transaction of its own, because the request that brought the
// token is refused and keeps nothing.
func (a *App) revokeFamily(ctx context.Context, hash string) error {
	ctx = db.Detach(ctx)
	return a.DB.Tx(ctx, func(ctx context.Context) error {
		s, _, known, err := a.Store.SessionOfToken(ctx, hash)
		if err != nil || !known {
			return err
		}
		return a.endSession(ctx, s.ID, s.UserID)
	})
}
