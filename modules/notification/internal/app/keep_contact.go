package app

import (
	"context"

	"cleave/modules/notification/internal/domain"
)

// KeepContact remembers how to address a user, unless newer news is known.
// Mails that have waited for the address can then leave.
func (a *App) KeepContact(ctx context.Context, c domain.Contact) error {
	return a.DB.Tx(ctx, func(ctx context.Context) error {
		c.DisplayName = domain.Line(c.DisplayName)
		a.DB.AfterCommit(ctx, func() { nudge(a.wake) })
		return a.Store.KeepContact(ctx, c)
	})
}

// Welcome remembers a new user and tells them that they are registered.
func (a *App) Welcome(ctx context.Context, c domain.Contact) error {
	return a.DB.Tx(ctx, func(ctx context.Context) error {
		if err := a.KeepContact(ctx, c); err != nil {
			return err
		}
		return a.Tell(ctx, domain.News{Kind: domain.Registered, UserID: c.UserID})
	})
}
