package app

import (
	"context"

	"cleave/modules/order/internal/domain"
	orderv1 "cleave/modules/order/v1"
	"cleave/platform/fault"
	"cleave/platform/saga"
)

// PlaceOrder takes an order down as pending and reserves its stock, at the
// catalogue's names and prices of this moment. Whether it is confirmed or
// rejected is decided afterwards, by the saga place_order. It fails as
// domain.Place does; when others buy the same stock at this moment, the
// Conflict, out_of_stock names no line.
func (a *App) PlaceOrder(ctx context.Context, buyerID string, wanted []domain.Wanted) (*domain.Order, error) {
	ids := make([]string, len(wanted))
	pieces := make(map[string]int64, len(wanted))
	for i, w := range wanted {
		ids[i], pieces[w.ProductID] = w.ProductID, -w.Quantity
	}
	catalogue, err := a.Store.Catalogue(ctx, ids)
	if err != nil {
		return nil, err
	}
	now := a.now()
	o, err := domain.Place(a.NewID(), buyerID, wanted, catalogue, now)
	if err != nil {
		return nil, err
	}
	err = a.DB.Tx(ctx, func(ctx context.Context) error {
		if err := a.Store.InsertOrder(ctx, o); err != nil {
			return err
		}
		state := placement{OrderID: o.ID, Number: o.Number, BuyerID: o.BuyerID, MinorUnits: o.Total.MinorUnits, Currency: o.Total.Currency}
		if err := a.placing.Start(ctx, o.ID, state); err != nil {
			return err
		}
		if err := a.Events.Publish(ctx, o.ID, placedEvent(o)); err != nil {
			return err
		}
		// Last, because the products' rows are locked from here on.
		return a.Store.MoveStock(ctx, pieces, now)
	})
	if err != nil {
		return nil, err
	}
	return o, nil
}

// placement is the state of the saga place_order.
type placement struct {
	OrderID    string `json:"order_id"`
	Number     string `json:"number"`
	BuyerID    string `json:"buyer_id"`
	MinorUnits int64  `json:"minor_units"`
	Currency   string `json:"currency"`
}

func (p *placement) total() domain.Money {
	return domain.Money{MinorUnits: p.MinorUnits, Currency: p.Currency}
}

// placeOrderSaga reserves the credit of a pending order and confirms it. When
// that fails or takes too long, it releases credit and stock and rejects it.
//
// A pending order belongs to this saga: it may not be shipped, and who cancels
// it turns the saga round in the same transaction. The saga then releases the
// credit, finds an order that is no longer pending, and leaves it and its stock
// alone. The user module refuses a reservation that was released before, so a
// reserve that is still on its way has no effect.
func (a *App) placeOrderSaga() saga.Definition[placement] {
	return saga.Definition[placement]{
		Name:    "place_order",
		Timeout: a.PlaceTimeout,
		Steps: []saga.Step[placement]{
			{Name: "reserve_credit", Do: a.reserveCredit, Undo: a.releaseCredit, Retry: saga.RetryPolicy{Attempts: -1}},
			{Name: "confirm", Local: true, Do: a.confirm},
		},
		Failed: a.reject,
	}
}

func (a *App) reserveCredit(ctx context.Context, p *placement) error {
	if p.MinorUnits == 0 {
		return nil
	}
	return a.Credit.Reserve(ctx, p.OrderID, p.BuyerID, p.total())
}

func (a *App) releaseCredit(ctx context.Context, p *placement) error {
	if p.MinorUnits == 0 {
		return nil
	}
	return a.Credit.Release(ctx, p.OrderID)
}

func (a *App) confirm(ctx context.Context, p *placement) error {
	confirmed, err := a.Store.Advance(ctx, p.OrderID, domain.Confirmed, "", a.now())
	if err != nil {
		return err
	}
	if !confirmed {
		return fault.New(fault.Conflict, "order_not_pending", "the order was cancelled before it was confirmed")
	}
	return a.Events.Publish(ctx, p.OrderID, &orderv1.OrderConfirmed{
		OrderId: p.OrderID, Number: p.Number, BuyerId: p.BuyerID, Total: moneyMessage(p.total()),
	})
}

func (a *App) reject(ctx context.Context, p *placement, cause *fault.Error) error {
	now := a.now()
	reason := rejection(cause)
	rejected, err := a.Store.Advance(ctx, p.OrderID, domain.Rejected, reason, now)
	if err != nil || !rejected {
		return err
	}
	o, err := a.Store.Order(ctx, p.OrderID)
	if err != nil {
		return err
	}
	if err := a.Events.Publish(ctx, p.OrderID, &orderv1.OrderRejected{
		OrderId: p.OrderID, Number: p.Number, BuyerId: p.BuyerID, Total: moneyMessage(p.total()), Reason: reason,
	}); err != nil {
		return err
	}
	return a.Store.MoveStock(ctx, pieces(*o), now)
}

// rejection is the stable word that buyers and other modules read.
func rejection(cause *fault.Error) string {
	switch {
	case cause.Kind == fault.Timeout:
		return "timeout"
	case cause.Kind.Temporary():
		return "unavailable"
	default:
		return cause.Code
	}
}
