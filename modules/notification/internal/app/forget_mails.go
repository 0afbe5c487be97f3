package app

import (
	"context"
	"time"
)

const (
	forgetEvery = time.Hour
	// mailRetention is how long it can be looked up what became of a mail.
	mailRetention = 30 * 24 * time.Hour
	// erasedRetention is how long news of a user who has deleted their account is expected at most, dead letters among it.
	erasedRetention = 90 * 24 * time.Hour
	forgetBatch     = 1000
)

// ForgetMails gives up the mails whose user never became known, and removes
// those that were settled long ago, until ctx ends.
func (a *App) ForgetMails(ctx context.Context) error {
	a.every(ctx, forgetEvery, nil, "cleaning up mails", a.forgetMails)
	return nil
}

func (a *App) forgetMails(ctx context.Context) error {
	err := a.DB.Tx(ctx, func(ctx context.Context) error {
		n, err := a.Store.FailUnaddressed(ctx, a.now().Add(-a.Mail.GiveUp))
		if n > 0 {
			a.DB.AfterCommit(ctx, func() { a.Log.ErrorContext(ctx, "mails given up: their users never became known", "mails", n) })
		}
		return err
	})
	if err == nil {
		err = a.DB.Tx(ctx, func(ctx context.Context) error { return a.Store.PurgeErased(ctx, a.now().Add(-erasedRetention)) })
	}
	for removed := int64(forgetBatch); err == nil && removed == forgetBatch; {
		err = a.DB.Tx(ctx, func(ctx context.Context) (err error) {
			removed, err = a.Store.PurgeMails(ctx, a.now().Add(-mailRetention), forgetBatch)
			return err
		})
	}
	return err
}
