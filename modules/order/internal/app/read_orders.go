package app

import (
	"context"

	"cleave/modules/order/internal/domain"
	"cleave/modules/order/internal/store"
	"cleave/platform/fault"
)

// Order reads one order; outside the scope it is NotFound.
func (a *App) Order(ctx context.Context, scope Scope, id string) (*domain.Order, error) {
	o, err := a.Store.Order(ctx, id)
	if err != nil {
		return nil, err
	}
	if !scope.owns(o) {
		return nil, errNoOrder()
	}
	return o, nil
}

// Orders lists orders, the newest first. Without the right to all, only the
// caller's own are listed, and a filter for another buyer is Forbidden.
func (a *App) Orders(ctx context.Context, scope Scope, f store.OrderFilter, list List) (orders []domain.Order, more bool, err error) {
	if !scope.All {
		if f.BuyerID != "" && f.BuyerID != scope.UserID {
			return nil, false, fault.New(fault.Forbidden, "", "only your own orders are yours to see").
				With(fault.Field{Path: "user_id", Code: "forbidden", Message: "must be your own id or left out"})
		}
		f.BuyerID = scope.UserID
	}
	if orders, err = a.Store.Orders(ctx, f, list.page()); err != nil {
		return nil, false, err
	}
	orders, more = cut(orders, list.Limit)
	return orders, more, nil
}
