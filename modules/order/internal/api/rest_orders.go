package api

import (
	"context"

	"cleave/modules/order/internal/domain"
	"cleave/modules/order/internal/store"
	"cleave/platform/auth"
	"cleave/platform/rest"
)

// PlaceOrder takes an order down.
func (s server) PlaceOrder(ctx context.Context, r PlaceOrderRequestObject) (PlaceOrderResponseObject, error) {
	buyer, _ := auth.From(ctx)
	wanted := make([]domain.Wanted, len(r.Body.Lines))
	for i, l := range r.Body.Lines {
		wanted[i] = domain.Wanted{ProductID: l.ProductID.String(), Quantity: l.Quantity}
	}
	o, err := s.app.PlaceOrder(ctx, buyer.Subject, wanted)
	if err != nil {
		return nil, err
	}
	body, err := wireOrder(o)
	return PlaceOrder201JSONResponse{Body: body, Headers: PlaceOrder201ResponseHeaders{
		ETag: rest.ETag(o.Version), Location: "/api/v1/orders/" + o.ID,
	}}, err
}

// GetOrder answers with one order.
func (s server) GetOrder(ctx context.Context, r GetOrderRequestObject) (GetOrderResponseObject, error) {
	o, err := s.app.Order(ctx, scope(ctx), r.OrderID.String())
	if err != nil {
		return nil, err
	}
	body, err := wireOrder(o)
	return GetOrder200JSONResponse{Body: body, Headers: GetOrder200ResponseHeaders{ETag: rest.ETag(o.Version)}}, err
}

// ListOrders answers with a page of orders.
func (s server) ListOrders(ctx context.Context, r ListOrdersRequestObject) (ListOrdersResponseObject, error) {
	const name = "listOrders"
	who, f := scope(ctx), store.OrderFilter{Status: domain.Status(rest.Deref(r.Params.Status))}
	if r.Params.UserID != nil {
		f.BuyerID = r.Params.UserID.String()
	}
	filter := "status=" + string(f.Status) + " buyer=" + f.BuyerID
	if !who.All {
		filter += " own=" + who.UserID
	}
	list, err := s.list(name, filter, r.Params.Limit, r.Params.Cursor)
	if err != nil {
		return nil, err
	}
	orders, more, err := s.app.Orders(ctx, who, f, list)
	if err != nil {
		return nil, err
	}
	page := ListOrders200JSONResponse{Items: make([]Order, len(orders))}
	for i := range orders {
		if page.Items[i], err = wireOrder(&orders[i]); err != nil {
			return nil, err
		}
	}
	if more {
		page.NextCursor = s.next(name, filter, orderPosition(orders[len(orders)-1]))
	}
	return page, nil
}

// CancelOrder calls an order off.
func (s server) CancelOrder(ctx context.Context, r CancelOrderRequestObject) (CancelOrderResponseObject, error) {
	o, err := s.app.CancelOrder(ctx, scope(ctx), r.OrderID.String(), rest.Deref(rest.Deref(r.Body).Reason))
	if err != nil {
		return nil, err
	}
	body, err := wireOrder(o)
	return CancelOrder200JSONResponse{Body: body, Headers: CancelOrder200ResponseHeaders{ETag: rest.ETag(o.Version)}}, err
}

// ShipOrder marks an order as shipped.
func (s server) ShipOrder(ctx context.Context, r ShipOrderRequestObject) (ShipOrderResponseObject, error) {
	o, err := s.app.ShipOrder(ctx, r.OrderID.String(), rest.Deref(rest.Deref(r.Body).TrackingCode))
	if err != nil {
		return nil, err
	}
	body, err := wireOrder(o)
	return ShipOrder200JSONResponse{Body: body, Headers: ShipOrder200ResponseHeaders{ETag: rest.ETag(o.Version)}}, err
}

// DeliverOrder marks an order as delivered.
func (s server) DeliverOrder(ctx context.Context, r DeliverOrderRequestObject) (DeliverOrderResponseObject, error) {
	o, err := s.app.DeliverOrder(ctx, r.OrderID.String())
	if err != nil {
		return nil, err
	}
	body, err := wireOrder(o)
	return DeliverOrder200JSONResponse{Body: body, Headers: DeliverOrder200ResponseHeaders{ETag: rest.ETag(o.Version)}}, err
}
