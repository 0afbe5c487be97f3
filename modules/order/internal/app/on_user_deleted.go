package app

import (
	"context"

	"github.com/google/uuid"
)

// OnUserDeleted cancels the user's pending and confirmed orders, with the reason user_deleted, and takes from all of their orders what
// leads to them: the buyer, the carrier's code and what people have written. It runs in the transaction of the event.
func (a *App) OnUserDeleted(ctx context.Context, userID string) error {
	return a.DB.Tx(ctx, func(ctx context.Context) error {
		if err := a.cancelAll(ctx, userID, "user_deleted"); err != nil {
			return err
		}
		nobody, err := uuid.NewRandom() // of no time, unlike other ids
		if err != nil {
			return err
		}
		if err := a.Store.Anonymise(ctx, userID, nobody.String(), a.now()); err != nil {
			return err
		}
		return a.Forget(ctx, userID)
	})
}
