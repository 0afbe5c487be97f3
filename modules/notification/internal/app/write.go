package app

import (
	"context"

	"cleave/modules/notification/internal/domain"
)

// Write gives news of the security of an account to its user by mail alone, whatever the user prefers (ASVS 5.0 6.3.7).
func (a *App) Write(ctx context.Context, n domain.News) error {
	return a.DB.Tx(ctx, func(ctx context.Context) error {
		a.DB.AfterCommit(ctx, func() { nudge(a.wake) })
		return a.Store.InsertMail(ctx, a.NewID(), n.Clean(), a.now())
	})
}
