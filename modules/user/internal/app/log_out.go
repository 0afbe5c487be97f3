package app

import (
	"context"

	"cleave/platform/auth"
)

// LogOut ends the session of the caller's access token. It does nothing when the session has ended.
func (a *App) LogOut(ctx context.Context, p auth.Principal) error {
	return a.DB.Tx(ctx, func(ctx context.Context) error {
		return a.Store.RevokeSession(ctx, p.Session, p.Subject, a.now())
	})
}
