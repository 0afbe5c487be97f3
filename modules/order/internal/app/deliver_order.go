package app

import (
	"context"

	"cleave/modules/order/internal/domain"
	orderv1 "cleave/modules/order/v1"
)

// DeliverOrder marks a shipped order as delivered. It fails with NotFound, or
// with Conflict, order_transition in any other state.
func (a *App) DeliverOrder(ctx context.Context, id string) (*domain.Order, error) {
	now := a.now()
	return a.changeOrder(ctx, Scope{All: true}, id, func(ctx context.Context, o *domain.Order) error {
		if err := o.Deliver(now); err != nil {
			return err
		}
		if err := a.Store.UpdateOrder(ctx, o); err != nil {
			return err
		}
		err := a.Events.Publish(ctx, o.ID, &orderv1.OrderDelivered{
			OrderId: o.ID, Number: o.Number, BuyerId: o.BuyerID, Total: moneyMessage(o.Total),
		})
		if err != nil {
			return err
		}
		return a.audited(ctx, "order:deliver", "order/"+o.ID, nil)
	})
}
