// Package app holds the use cases of the order module: keeping the catalogue,
// and taking an order from its placing to the buyer's door.
//
// An order reserves its stock in the transaction that places it, and its credit
// in a saga that follows. What touches both the order and the user module is a
// saga too; what happened is published in the transaction in which it did.
package app

import (
	"context"
	"time"

	"cleave/modules/order/internal/domain"
	"cleave/modules/order/internal/store"
	"cleave/platform/audit"
	"cleave/platform/db"
	"cleave/platform/event"
	"cleave/platform/fault"
	"cleave/platform/saga"
)

// Credit is the buyers' credit, kept by the user module. Each call is
// idempotent by key, the order's id. Faults of a temporary kind mean that
// nobody knows whether the call had effect, and it may be made again.
type Credit interface {
	// Reserve holds an amount of at least one minor unit back. It fails with
	// Conflict: insufficient_credit, user_disabled or credit_released, when
	// Release came first; Unprocessable: buyer_unknown or currency_mismatch.
	Reserve(ctx context.Context, key, buyerID string, amount domain.Money) error
	// Capture spends what was reserved, and fails with Conflict,
	// credit_not_captured when there is nothing under the key.
	Capture(ctx context.Context, key string) error
	// Release gives back what was reserved, or would be by a Reserve that is
	// yet to come. It fails with Conflict, credit_not_released after Capture.
	Release(ctx context.Context, key string) error
}

// Deps are what the use cases stand on.
type Deps struct {
	DB     *db.DB
	Store  *store.Store
	Events *event.Publisher
	Audit  *audit.Log
	Sagas  *saga.Runner
	Credit Credit
	Now    func() time.Time
	NewID  func() string
	// Forget erases what the platform keeps in the module's database under a key of events: a user, or an order.
	Forget func(ctx context.Context, userID string) error
	// PlaceTimeout is how long an order may stay pending before it is rejected.
	PlaceTimeout time.Duration
}

// App is the module's use cases.
type App struct {
	Deps
	placing    *saga.Saga[placement]
	cancelling *saga.Saga[settlement]
	shipping   *saga.Saga[settlement]
}

// New returns the use cases and registers their sagas with d.Sagas.
func New(d Deps) *App {
	a := &App{Deps: d}
	a.placing = saga.Register(d.Sagas, a.placeOrderSaga())
	a.cancelling = saga.Register(d.Sagas, a.cancelOrderSaga())
	a.shipping = saga.Register(d.Sagas, a.shipOrderSaga())
	return a
}

// Scope says whose orders, or which products, the caller may touch.
type Scope struct {
	UserID string // the caller
	All    bool   // everyone's orders, and products that are not on sale
}

// List is the part of a list to read.
type List struct {
	After store.Page // the zero value begins at the newest; Limit is ignored
	Limit int
}

// page reads one item more than asked for, to learn whether there is more.
func (l List) page() store.Page {
	return store.Page{At: l.After.At, ID: l.After.ID, Limit: l.Limit + 1}
}

// cut takes that item off again.
func cut[T any](items []T, limit int) (page []T, more bool) {
	if len(items) > limit {
		return items[:limit], true
	}
	return items, false
}

// now is the time as the tables keep it: in UTC, in whole microseconds.
func (a *App) now() time.Time { return a.Now().UTC().Truncate(time.Microsecond) }

// audited records what staff did to an object, in the transaction of ctx.
func (a *App) audited(ctx context.Context, action, object string, detail map[string]string) error {
	return a.Audit.Append(ctx, audit.Entry{Action: action, Object: object, Detail: detail})
}

func errNoOrder() error {
	return fault.New(fault.NotFound, "order_not_found", "there is no such order")
}

func errNoProduct() error {
	return fault.New(fault.NotFound, "product_not_found", "there is no such product")
}
