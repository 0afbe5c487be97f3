package app

import (
	"context"
	"errors"

	"cleave/modules/user/internal/domain"
	"cleave/modules/user/internal/store"
	"cleave/platform/db"
)

// errReused says that a refresh token was presented a second time: one of its two holders must be a thief.
var errReused = errors.New("the refresh token was used before")

// RefreshSession trades a refresh token for a new pair. A token that is unknown, of a session that has ended or was idle for too long, or used before is
// ErrRefreshToken; the latter also ends the session, with all tokens that descend from its log-in (RFC 9700 section 4.14.2).
// A disabled user gets ErrLogInDisabled.
//
// The requestKey, "" for none, is the client's name for this request. The request that has used the token and arrives once
// more is refused as well, but ends nothing: it is the platform that has its first answer.
func (a *App) RefreshSession(ctx context.Context, token, requestKey string) (Tokens, error) {
	var tokens Tokens
	err := a.renew(ctx, token, requestKey, "", func(ctx context.Context, u domain.User, s store.Session) (hash string, err error) {
		tokens, hash, err = a.tokens(ctx, u, s.ID, a.now())
		return hash, err
	})
	if err != nil {
		return Tokens{}, err
	}
	return tokens, nil
}

// renew uses up a refresh token that was given to a client, "" for none; issue makes the tokens and returns the hash of the next
// refresh token.
func (a *App) renew(ctx context.Context, token, requestKey, clientID string, issue func(context.Context, domain.User, store.Session) (string, error)) error {
	hash := hashToken(token)
	if requestKey != "" {
		requestKey = hashToken(requestKey)
	}
	err := a.DB.Tx(ctx, func(ctx context.Context) error { return a.refresh(ctx, hash, requestKey, clientID, issue) })
	if errors.Is(err, errReused) {
		if err := a.revokeFamily(ctx, hash); err != nil {
			return err
		}
		return domain.ErrRefreshToken
	}
	return err
}

func (a *App) refresh(ctx context.Context, hash, requestKey, clientID string, issue func(context.Context, domain.User, store.Session) (string, error)) error {
	now := a.now()
	first, err := a.Store.UseRefreshToken(ctx, hash, requestKey, now)
	if err != nil {
		return err
	}
	s, usedKey, known, err := a.Store.SessionOfToken(ctx, hash)
	switch {
	case err != nil:
		return err
	case !known, s.ClientID != clientID, s.Revoked, !now.Before(s.ExpiresAt), a.idle(s, now), !first && requestKey != "" && requestKey == usedKey:
		return domain.ErrRefreshToken
	case !first:
		return errReused
	}
	u, err := a.Store.User(ctx, s.UserID)
	if err != nil {
		return err
	}
	if u.Disabled {
		return domain.ErrLogInDisabled
	}
	next, err := issue(ctx, u, s)
	if err != nil {
		return err
	}
	if err := a.Store.TouchSession(ctx, s.ID, clientOf(ctx), now); err != nil {
		return err
	}
	return a.Store.InsertRefreshToken(ctx, s.ID, next, now)
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
