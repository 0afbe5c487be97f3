package order

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	orderrest "cleave/modules/order/v1/rest"
	"cleave/platform/config"
	"cleave/platform/faulttest"
	"cleave/platform/module"
	"cleave/platform/moduletest"
)

// insist repeats a request under its key until the answer is a definite one.
func (c *caller) insist(t *testing.T, method, path string, body any) answer {
	key := uuid.NewString()
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		a, err := c.try(t.Context(), method, path, body, "Idempotency-Key", key)
		if err == nil && a.status < http.StatusInternalServerError && a.problem.Code != "idempotency_key_in_flight" {
			return a
		}
		if time.Now().After(end) {
			t.Errorf("%s %s: no definite answer; the last: %d %s %v", method, path, a.status, a.body, err)
			return a
		}
	}
}

// TestFaults takes orders to their ends while commits, calls of the user module
// and deliveries are late, fail, happen unsaid and happen twice.
func TestFaults(t *testing.T) {
	t.Parallel()
	moduletest.EachFaulty(t, []module.Spec{Module}, func(t *testing.T, cfg *config.Config, plan *faulttest.Plan) {
		const buyers, orders, price, credit = 3, 8, 100, 1000
		cfg.Modules["order"].(*settings).PlaceTimeout = time.Hour
		cfg.Sagas.Lease = time.Second // a step that cannot be recorded waits for it
		cfg.Events.BackoffMin, cfg.Events.BackoffMax, cfg.Events.MaxAttempts = time.Millisecond, 20*time.Millisecond, 1000
		w := &world{users: newUsers(), events: &listener{}, issuer: moduletest.NewIssuer(t, cfg, "user", "order")}
		w.host = moduletest.StartFaulty(t, cfg, plan, w.users.spec(w.issuer), Module, w.events.spec())
		w.admin = w.caller(t, "admin")
		lamp := w.product(t, euros(price), 1000)
		all := make([]*caller, buyers)
		for i := range all {
			all[i] = w.customer(t, credit) // not enough for all of their orders
		}

		plan.Start()
		var wg sync.WaitGroup
		for _, c := range all {
			wg.Go(func() { c.shopAround(t, w.admin, orders, lamp) })
		}
		wg.Wait()
		w.settled(t)
		plan.Stop()

		held := int64(0)
		for _, c := range all {
			var list orderrest.OrderList
			eventually(t, func() bool {
				list = into[orderrest.OrderList](t, c.do(t, "GET", "/orders?limit=100", nil), 200)
				for _, o := range list.Items {
					if o.Status == orderrest.OrderStatusPending {
						return false
					}
				}
				return true
			}, "orders are pending")
			require.Len(t, list.Items, orders, "each order that was placed is there once")
			var reserved, captured int64
			for _, o := range list.Items {
				switch o.Status {
				case orderrest.OrderStatusConfirmed:
					reserved += o.Total.MinorUnits
				case orderrest.OrderStatusShipped:
					captured += o.Total.MinorUnits
				default:
					continue
				}
				held += o.Lines[0].Quantity
			}
			require.Equal(t, account{credit, credit - reserved - captured, reserved, captured, false}, w.users.account(t, c.id))
			w.heardOnce(t, list.Items)
		}
		require.Equal(t, int64(1000), w.stock(t, lamp)+held)
	})
}

// shopAround places n orders, cancels each third and has each fourth shipped.
func (c *caller) shopAround(t *testing.T, admin *caller, n int, lamp orderrest.Product) {
	for i := range n {
		a := c.insist(t, "POST", "/orders", wanted(int64(1+i%3), lamp))
		if a.status != http.StatusCreated {
			t.Errorf("an order is refused: %d %s", a.status, a.body)
			return
		}
		path := a.header.Get("Location")[len("/api/v1"):]
		if i%3 == 0 {
			c.insist(t, "POST", path+"/cancel", `{}`)
		}
		if i%4 == 0 {
			admin.insist(t, "POST", path+"/ship", `{}`)
		}
	}
}

// heardOnce waits for the events of the orders' ends, and requires that each
// happened once: an event that is heard again has the same id.
func (w *world) heardOnce(t *testing.T, orders []orderrest.Order) {
	t.Helper()
	for _, o := range orders {
		end := map[orderrest.OrderStatus]string{"confirmed": "OrderConfirmed", "rejected": "OrderRejected", "cancelled": "OrderCancelled", "shipped": "OrderShipped"}[o.Status]
		eventually(t, func() bool {
			ids := w.events.ids(o.ID)
			for kind, n := range ids {
				require.Len(t, n, 1, "%s of order %s was published %d times", kind, o.ID, len(n))
			}
			return len(ids["OrderPlaced"]) == 1 && len(ids[end]) == 1
		}, "no %s of order %s: %s", end, o.ID, fmt.Sprint(w.events.ids(o.ID)))
	}
}
