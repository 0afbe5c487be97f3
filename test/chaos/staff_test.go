package chaos_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"

	orderrest "cleave/modules/order/v1/rest"
	userrest "cleave/modules/user/v1/rest"
)

// topUp is credit that was given: once, however often it was asked for.
type topUp struct {
	user  uuid.UUID
	note  string
	cents int64
}

// staff is the administrator: they fill shelves, ship, give credit, and bar
// customers for a while.
type staff struct {
	*client
	mu       sync.Mutex
	topUps   []topUp
	added    int64             // chairs put into stock, one at a time
	shipped  map[uuid.UUID]int // orders whose shipping was acknowledged
	disabled map[uuid.UUID]int // how often each customer was barred
	barred   *customer
}

// run goes on until the shop closes, and leaves nobody barred.
func (a *staff) run() {
	for n := 1; !a.shop.closed(); n++ {
		switch k := a.rand.IntN(100); {
		case k < 30:
			a.ship()
		case k < 40:
			a.deliver()
		case k < 65:
			c := a.shop.customers[a.rand.IntN(len(a.shop.customers))]
			a.topUp(c.id, fmt.Sprintf("top-up %d", n), 1+a.rand.Int64N(4000))
		case k < 90:
			a.addChair(fmt.Sprintf("chair %d", n))
		default:
			a.bar(n)
		}
		time.Sleep(time.Duration(a.rand.Int64N(int64(10 * time.Millisecond))))
	}
	a.unbar()
}

func (a *staff) refused(what string, r reply) {
	if r.status != 0 {
		a.shop.findings.add("%s is refused: %d %s", what, r.status, r.body)
	}
}

// one is a random order in the given state.
func (a *staff) one(status orderrest.OrderStatus) (id uuid.UUID, found bool) {
	r := ask(a.client, "list orders", func(ctx context.Context, api api) (*orderrest.ListOrdersResponse, error) {
		return api.orders.ListOrdersWithResponse(ctx, &orderrest.ListOrdersParams{Status: &status, Limit: ptr[int32](20)})
	})
	list, err := decode[orderrest.OrderList](r.body)
	if r.status != http.StatusOK || err != nil {
		a.refused("listing orders", r)
		return id, false
	}
	if len(list.Items) == 0 {
		return id, false
	}
	return list.Items[a.rand.IntN(len(list.Items))].ID, true
}

func (a *staff) ship() {
	id, found := a.one(orderrest.OrderStatusConfirmed)
	if !found {
		return
	}
	key := "ship " + id.String()
	r := ask(a.client, key, func(ctx context.Context, api api) (*orderrest.ShipOrderResponse, error) {
		return api.orders.ShipOrderWithResponse(ctx, id, &orderrest.ShipOrderParams{IdempotencyKey: &key}, orderrest.ShipOrder{})
	})
	switch r.status {
	case http.StatusOK:
		a.mu.Lock()
		a.shipped[id]++
		a.mu.Unlock()
	case http.StatusConflict: // cancelled meanwhile
	default:
		a.refused(key, r)
	}
}

func (a *staff) deliver() {
	id, found := a.one(orderrest.OrderStatusShipped)
	if !found {
		return
	}
	key := "deliver " + id.String()
	r := ask(a.client, key, func(ctx context.Context, api api) (*orderrest.DeliverOrderResponse, error) {
		return api.orders.DeliverOrderWithResponse(ctx, id, &orderrest.DeliverOrderParams{IdempotencyKey: &key})
	})
	if !r.ok() && r.status != http.StatusConflict {
		a.refused(key, r)
	}
}

func (a *staff) topUp(user uuid.UUID, note string, cents int64) {
	r := ask(a.client, note, func(ctx context.Context, api api) (*userrest.TopUpCreditResponse, error) {
		return api.users.TopUpCreditWithResponse(ctx, user, &userrest.TopUpCreditParams{IdempotencyKey: &note},
			userrest.TopUpCredit{Amount: userrest.Money{MinorUnits: cents, Currency: "EUR"}, Note: &note})
	})
	if r.status != http.StatusCreated {
		a.refused(note, r)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.topUps = append(a.topUps, topUp{user, note, cents})
}

func (a *staff) addChair(key string) {
	r := ask(a.client, key, func(ctx context.Context, api api) (*orderrest.AdjustStockResponse, error) {
		return api.orders.AdjustStockWithResponse(ctx, a.shop.chair, &orderrest.AdjustStockParams{IdempotencyKey: &key}, orderrest.AdjustStock{Delta: 1})
	})
	if !r.ok() {
		a.refused(key, r)
		return
	}
	a.added++
}

// bar disables a customer, or lets the one who is back in.
func (a *staff) bar(n int) {
	if a.barred != nil {
		a.unbar()
		return
	}
	c := a.shop.customers[a.rand.IntN(len(a.shop.customers))]
	key := fmt.Sprintf("disable %d", n)
	r := ask(a.client, key, func(ctx context.Context, api api) (*userrest.DisableUserResponse, error) {
		return api.users.DisableUserWithResponse(ctx, c.id, &userrest.DisableUserParams{IdempotencyKey: &key})
	})
	if !r.ok() {
		a.refused(key+" "+c.email, r)
		return
	}
	a.disabled[c.id]++
	a.barred = c
}

func (a *staff) unbar() {
	if a.barred == nil {
		return
	}
	r := ask(a.client, "enable "+a.barred.email, func(ctx context.Context, api api) (*userrest.EnableUserResponse, error) {
		return api.users.EnableUserWithResponse(ctx, a.barred.id, nil)
	})
	if !r.ok() {
		a.refused("enabling "+a.barred.email, r)
	}
	a.barred = nil
}
