package app

import (
	"context"
	"slices"

	"cleave/modules/user/internal/domain"
	"cleave/modules/user/internal/store"
	userv1 "cleave/modules/user/v1"
	"cleave/platform/auth"
)

// maxSessions is how many sessions a user sees of theirs.
const maxSessions = 100

// Sessions reads a user's sessions that have not ended, the newest first, at most maxSessions (ASVS 5.0 7.5.2).
func (a *App) Sessions(ctx context.Context, userID string) ([]store.Session, error) {
	now := a.now()
	all, err := a.Store.Sessions(ctx, userID, now, maxSessions)
	return slices.DeleteFunc(all, func(s store.Session) bool { return a.idle(s, now) }), err
}

// EndSessions ends one of the caller's sessions, or without an id all but the one they are in. They must know their password
// (ErrPasswordWrong). A session that they do not have is ErrSessionNotFound.
func (a *App) EndSessions(ctx context.Context, p auth.Principal, given, id string) error {
	if _, err := a.confirmPassword(ctx, p.Subject, given); err != nil {
		return err
	}
	return a.DB.Tx(ctx, func(ctx context.Context) error {
		if id == "" {
			return a.endOtherSessions(ctx, p.Subject, p.Session)
		}
		ended, err := a.Store.RevokeSession(ctx, id, p.Subject, a.now())
		switch {
		case err != nil:
			return err
		case !ended:
			return domain.ErrSessionNotFound
		}
		return a.revoke(ctx, p.Subject, id)
	})
}

// endOtherSessions ends all of a user's sessions but the one to keep, "" for none, together with their access tokens.
func (a *App) endOtherSessions(ctx context.Context, userID, keep string) error {
	ended, err := a.Store.RevokeOtherSessions(ctx, userID, keep, a.now())
	if err != nil {
		return err
	}
	return a.revoke(ctx, userID, ended...)
}

// revoke ends the access tokens of sessions everywhere.
func (a *App) revoke(ctx context.Context, userID string, sessions ...string) error {
	for _, id := range sessions {
		if err := a.Events.Publish(ctx, userID, &userv1.AccessRevoked{UserId: userID, SessionId: id}); err != nil {
			return err
		}
	}
	return nil
}
