package app

import (
	"context"

	"cleave/modules/notification/internal/domain"
)

// Tell gives news to a user over the channels that the user wants it on. It
// only queues writes, so that a batch of events costs one round trip.
func (a *App) Tell(ctx context.Context, n domain.News) error {
	title, body, err := a.Writer.Notice(n)
	if err != nil {
		return err
	}
	now := a.now()
	return a.DB.Tx(ctx, func(ctx context.Context) error {
		a.DB.AfterCommit(ctx, func() {
			nudge(a.wake)
			a.feeds.wake(n.UserID)
		})
		// First, because from there on nobody erases the user.
		err := a.Store.InsertNotification(ctx, domain.Notification{
			ID: a.NewID(), UserID: n.UserID, Kind: n.Kind, Title: title, Body: body, OrderID: n.OrderID, CreatedAt: now,
		})
		if err != nil {
			return err
		}
		return a.Store.InsertMail(ctx, a.NewID(), n.Clean(), now)
	})
}
