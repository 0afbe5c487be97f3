package app

import (
	"context"
	"time"

	"cleave/modules/order/internal/domain"
	orderv1 "cleave/modules/order/v1"
	"cleave/platform/fault"
	"cleave/platform/saga"
)

// CancelOrder calls a pending or confirmed order off and gives its stock back;
// its credit follows by a saga. It fails with NotFound for an order outside the
// scope, and with Conflict, order_transition in any other state.
func (a *App) CancelOrder(ctx context.Context, scope Scope, id, reason string) (*domain.Order, error) {
	now := a.now()
	return a.changeOrder(ctx, scope, id, func(ctx context.Context, o *domain.Order) error {
		if err := a.cancel(ctx, o, reason, now); err != nil {
			return err
		}
		return a.Store.MoveStock(ctx, pieces(*o), now)
	})
}

// cancel does all that a cancellation means, except for the stock, to an order
// that the transaction has locked.
func (a *App) cancel(ctx context.Context, o *domain.Order, reason string, now time.Time) error {
	was := o.Status
	if err := o.Cancel(reason, now); err != nil {
		return err
	}
	if err := a.Store.UpdateOrder(ctx, o); err != nil {
		return err
	}
	if err := a.giveCreditBack(ctx, o, was); err != nil {
		return err
	}
	return a.Events.Publish(ctx, o.ID, &orderv1.OrderCancelled{
		OrderId: o.ID, Number: o.Number, BuyerId: o.BuyerID, Total: moneyMessage(o.Total), Reason: o.Reason,
	})
}

// giveCreditBack leaves a pending order's credit to the saga that is placing it,
// which is turned round: what it has reserved, or is reserving, it releases.
func (a *App) giveCreditBack(ctx context.Context, o *domain.Order, was domain.Status) error {
	if was == domain.Pending {
		return a.placing.Compensate(ctx, o.ID, fault.New(fault.Conflict, "order_cancelled", "the order was cancelled before it was confirmed"))
	}
	if o.Total.MinorUnits == 0 {
		return nil
	}
	return a.cancelling.Start(ctx, o.ID, settlement{OrderID: o.ID})
}

// changeOrder runs change on an order that nobody else can change meanwhile.
func (a *App) changeOrder(ctx context.Context, scope Scope, id string, change func(context.Context, *domain.Order) error) (o *domain.Order, err error) {
	err = a.DB.Tx(ctx, func(ctx context.Context) error {
		if o, err = a.Store.LockOrder(ctx, id); err != nil {
			return err
		}
		if !scope.owns(o) {
			return errNoOrder()
		}
		return change(ctx, o)
	})
	if err != nil {
		return nil, err
	}
	return o, nil
}

// owns reports whether o exists as far as the caller may know.
func (s Scope) owns(o *domain.Order) bool {
	return o != nil && (s.All || (s.UserID != "" && o.BuyerID == s.UserID))
}

// pieces is what orders hold of the stock, by product.
func pieces(orders ...domain.Order) map[string]int64 {
	held := map[string]int64{}
	for _, o := range orders {
		for _, l := range o.Lines {
			held[l.ProductID] += l.Quantity
		}
	}
	return held
}

// settlement is the state of the sagas that settle an order's credit.
type settlement struct {
	OrderID string `json:"order_id"`
}

// cancelOrderSaga releases the credit of an order that was cancelled after it
// was confirmed, for as long as it takes.
func (a *App) cancelOrderSaga() saga.Definition[settlement] {
	return a.settle("cancel_order", "release_credit", func(ctx context.Context, s *settlement) error {
		return a.Credit.Release(ctx, s.OrderID)
	})
}

// settle is a saga of one step that must succeed in the end. When the user
// module refuses it, there is nothing to compensate: the saga stays behind as
// failed, for a person to look at and to retry.
func (a *App) settle(name, step string, do func(context.Context, *settlement) error) saga.Definition[settlement] {
	return saga.Definition[settlement]{
		Name:  name,
		Steps: []saga.Step[settlement]{{Name: step, Retriable: true, Do: do, Retry: saga.RetryPolicy{Limit: -1}}},
	}
}
