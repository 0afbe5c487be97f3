package app

import (
	"context"

	"cleave/modules/user/internal/domain"
	userv1 "cleave/modules/user/v1"
	"cleave/platform/auth"
)

// LogOut ends the session of the caller's access token. It does nothing when the session has ended, or when the token is of none: it
// is a client's of its own, or an outside issuer's.
func (a *App) LogOut(ctx context.Context, p auth.Principal) error {
	return a.DB.Tx(ctx, func(ctx context.Context) error {
		return a.endSession(ctx, p.Session, p.Subject)
	})
}

// endSession ends a session of a user together with its access tokens, unless it has ended already.
func (a *App) endSession(ctx context.Context, id, userID string) error {
	if id == "" {
		return nil
	}
	ended, err := a.Store.RevokeSession(ctx, id, userID, a.now())
	if err != nil || !ended {
		return err
	}
	return a.Events.Publish(ctx, userID, &userv1.AccessRevoked{UserId: userID, SessionId: id})
}

// endSessions ends all sessions of a user, and all access tokens from before the user's present version.
func (a *App) endSessions(ctx context.Context, u domain.User) error {
	if err := a.Store.RevokeSessions(ctx, u.ID, a.now()); err != nil {
		return err
	}
	return a.Events.Publish(ctx, u.ID, &userv1.AccessRevoked{UserId: u.ID, BeforeVersion: u.Version})
}
