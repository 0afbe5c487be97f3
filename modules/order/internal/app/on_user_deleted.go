package app

import (
	"context"
)

// OnUserDeleted cancels the user's pending and confirmed orders, with the reason user_deleted, and takes from all of their orders what
// leads to them: the buyer, the carrier's code and what people have written. It runs in the transaction of the event.
func (a *App) OnUserDeleted(ctx context.Context, userID string) error {
	return a.DB.Tx(ctx, func(ctx context.Context) error {
		// What the events of the orders have told goes first, so that the cancellations below are told.
		ids, err := a.Store.OrderIDs(ctx, userID)
		if err != nil {
			return err
		}
		for _, id := range append(ids, userID) {
			if err := a.Forget(ctx, id); err != nil {
				return err
			}
		}
		if err := a.cancelAll(ctx, userID, "user_deleted"); err != nil {
			return err
		}
		return a.Store.Anonymise(ctx, userID, a.NewID(), a.now())
	})
}
