package app

import (
	"context"

	"cleave/modules/notification/internal/domain"
)

// Tell gives news to a user over the channels that the user wants it on.
func (a *App) Tell(ctx context.Context, n domain.News) error {
	return a.DB.Tx(ctx, func(ctx context.Context) error {
		muted, err := a.Store.Muted(ctx, n.UserID, n.Kind)
		if err != nil {
			return err
		}
		if !muted[domain.Email] {
			if err := a.Store.InsertMail(ctx, a.NewID(), n.Clean(), a.now()); err != nil {
				return err
			}
			a.DB.AfterCommit(ctx, func() { nudge(a.wake) })
		}
		if !muted[domain.InApp] {
			return a.notify(ctx, n)
		}
		return nil
	})
}

func (a *App) notify(ctx context.Context, n domain.News) error {
	title, body, err := a.Writer.Notice(n)
	if err != nil {
		return err
	}
	seq, err := a.Store.NextSeq(ctx, n.UserID)
	if err != nil {
		return err
	}
	a.DB.AfterCommit(ctx, func() { a.feeds.wake(n.UserID, seq) })
	return a.Store.InsertNotification(ctx, domain.Notification{
		ID: a.NewID(), UserID: n.UserID, Seq: seq, Kind: n.Kind, Title: title, Body: body, OrderID: n.OrderID, CreatedAt: a.now(),
	})
}
