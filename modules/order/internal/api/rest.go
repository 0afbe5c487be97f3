// Package api is the order module's side of the wire: its REST operations, its
// event handlers and its calls of the user module.
package api

import (
	"context"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"cleave/modules/order/internal/app"
	"cleave/modules/order/internal/domain"
	"cleave/modules/order/internal/store"
	"cleave/platform/auth"
	"cleave/platform/db"
	"cleave/platform/rest"
)

// server implements the generated StrictServerInterface.
type server struct {
	app     *app.App
	cursors *rest.Cursors
}

var _ StrictServerInterface = server{}

// Routes returns what registers the module's REST operations.
func Routes(a *app.App, cursors *rest.Cursors) func(gin.IRouter) {
	handler := NewStrictHandlerWithOptions(server{app: a, cursors: cursors}, nil, StrictGinServerOptions{
		RequestErrorHandlerFunc:  rest.RequestError,
		HandlerErrorFunc:         rest.HandlerError,
		ResponseErrorHandlerFunc: rest.HandlerError,
	})
	return func(router gin.IRouter) {
		RegisterHandlersWithOptions(router, handler, GinServerOptions{
			ErrorHandler: func(c *gin.Context, err error, _ int) { rest.RequestError(c, err) },
		})
	}
}

// scope is what the policy has decided for the caller of this operation.
func scope(ctx context.Context) app.Scope {
	subject, anyone := auth.Owner(ctx)
	return app.Scope{UserID: subject, All: anyone}
}

const defaultLimit = 20

// list reads the part of a list that a request asks for. The filter must be the
// same for all pages of one list.
func (s server) list(name, filter string, limit *Limit, cursor *Cursor) (app.List, error) {
	l := app.List{Limit: defaultLimit}
	if limit != nil {
		l.Limit = int(*limit)
	}
	if cursor != nil {
		at, err := s.cursors.Decode(name, filter, *cursor)
		if err != nil {
			return l, err
		}
		l.After = store.Page{At: at.At, ID: at.ID}
	}
	return l, nil
}

func wireMoney(m domain.Money) Money {
	return Money{MinorUnits: m.MinorUnits, Currency: m.Currency}
}

func domainMoney(m Money) domain.Money {
	return domain.Money{MinorUnits: m.MinorUnits, Currency: m.Currency}
}

func wireProduct(p *domain.Product) (Product, error) {
	id, err := uuid.Parse(p.ID)
	return Product{
		ID: id, SKU: p.SKU, Name: p.Name, Description: p.Description, Price: wireMoney(p.Price), Stock: p.Stock,
		Active: p.Active, CreatedAt: p.CreatedAt, UpdatedAt: p.UpdatedAt, Version: p.Version,
	}, err
}

func wireOrder(o *domain.Order) (w Order, err error) {
	w = Order{
		Number: o.Number, Status: OrderStatus(o.Status), Lines: make([]OrderLine, len(o.Lines)), Total: wireMoney(o.Total),
		Reason: rest.Optional(o.Reason), TrackingCode: rest.Optional(o.TrackingCode),
		CreatedAt: o.CreatedAt, UpdatedAt: o.UpdatedAt, Version: o.Version,
	}
	if w.ID, err = uuid.Parse(o.ID); err != nil {
		return w, err
	}
	if w.BuyerID, err = uuid.Parse(o.BuyerID); err != nil {
		return w, err
	}
	for i, l := range o.Lines {
		w.Lines[i] = OrderLine{SKU: l.SKU, Name: l.Name, Quantity: l.Quantity, UnitPrice: wireMoney(l.UnitPrice), Total: wireMoney(l.Total())}
		if w.Lines[i].ProductID, err = uuid.Parse(l.ProductID); err != nil {
			return w, err
		}
	}
	return w, nil
}

// next is where a list goes on after an item.
func (s server) next(name, filter string, after rest.Position) *NextCursor {
	cursor := s.cursors.Encode(name, filter, after)
	return &cursor
}

func productPosition(p domain.Product) rest.Position {
	return rest.Position{At: db.Micros(p.CreatedAt), ID: p.ID}
}

func orderPosition(o domain.Order) rest.Position {
	return rest.Position{At: db.Micros(o.CreatedAt), ID: o.ID}
}
