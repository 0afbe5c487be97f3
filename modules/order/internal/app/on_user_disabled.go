package app

import "context"

// disabledBatch is how many orders of a user are read at once.
const disabledBatch = 100

// OnUserDisabled cancels the user's pending and confirmed orders, with the
// reason user_disabled. It runs in the transaction of the event.
func (a *App) OnUserDisabled(ctx context.Context, userID string) error {
	return a.cancelAll(ctx, userID, "user_disabled")
}

// cancelAll cancels a user's pending and confirmed orders.
func (a *App) cancelAll(ctx context.Context, userID, reason string) error {
	now := a.now()
	return a.DB.Tx(ctx, func(ctx context.Context) error {
		held := map[string]int64{}
		for {
			open, err := a.Store.LockOpenOrders(ctx, userID, disabledBatch)
			if err != nil {
				return err
			}
			for i := range open {
				if err := a.cancel(ctx, &open[i], reason, now); err != nil {
					return err
				}
			}
			for product, n := range pieces(open...) {
				held[product] += n
			}
			if len(open) < disabledBatch {
				break
			}
		}
		// After all orders: whoever locks both takes the order first.
		return a.Store.MoveStock(ctx, held, now)
	})
}
