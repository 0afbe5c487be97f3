package app

import (
	"context"

	"cleave/modules/order/internal/domain"
	orderv1 "cleave/modules/order/v1"
	"cleave/platform/saga"
)

// ShipOrder marks a confirmed order as shipped; its credit is captured by the
// saga ship_order. It fails with NotFound, or with Conflict, order_transition
// in any other state.
func (a *App) ShipOrder(ctx context.Context, id, trackingCode string) (*domain.Order, error) {
	now := a.now()
	return a.changeOrder(ctx, Scope{All: true}, id, func(ctx context.Context, o *domain.Order) error {
		if err := o.Ship(trackingCode, now); err != nil {
			return err
		}
		if err := a.Store.UpdateOrder(ctx, o); err != nil {
			return err
		}
		if o.Total.MinorUnits > 0 {
			if err := a.shipping.Start(ctx, o.ID, settlement{OrderID: o.ID}); err != nil {
				return err
			}
		}
		err := a.Events.Publish(ctx, o.ID, &orderv1.OrderShipped{
			OrderId: o.ID, Number: o.Number, BuyerId: o.BuyerID, Total: moneyMessage(o.Total), TrackingCode: o.TrackingCode,
		})
		if err != nil {
			return err
		}
		return a.audited(ctx, "order:ship", "order/"+o.ID, nil)
	})
}

// shipOrderSaga captures the credit of a shipped order, for as long as it takes.
func (a *App) shipOrderSaga() saga.Definition[settlement] {
	return a.settle("ship_order", "capture_credit", func(ctx context.Context, s *settlement) error {
		return a.Credit.Capture(ctx, s.OrderID)
	})
}
