package order

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	orderrest "cleave/modules/order/v1/rest"
	"cleave/platform/db"
	"cleave/platform/fault"
	"cleave/platform/saga"
)

// sagas are the states of the order's sagas, by name.
func (w *world) sagas(t testing.TB, o orderrest.Order) map[string]saga.State {
	t.Helper()
	infos, err := saga.List(context.Background(), w.host.DB("order"), saga.Filter{ID: o.ID.String()})
	require.NoError(t, err)
	states := map[string]saga.State{}
	for _, i := range infos {
		states[i.Name] = i.State
	}
	return states
}

// A pending order belongs to the saga that places it.
func TestSemanticLock(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		db := w.host.DB("order")
		whole := account{granted: 1000, available: 1000}
		t.Run("NothingElseChangesIt", func(t *testing.T) {
			p, buyer, g := w.product(t, euros(10), 10), w.customer(t, 1000), newGate("reserve")
			w.users.around(g.pass, nil)
			o := buyer.place(t, 3, p)
			<-g.at
			refused(t, w.admin.act(t, o, "ship", nil), 409, "order_transition")
			refused(t, w.admin.act(t, o, "deliver", nil), 409, "order_transition")
			path := "/products/" + p.ID.String()
			require.Equal(t, 200, w.admin.do(t, "POST", path+"/stock", orderrest.AdjustStock{Delta: -7}).status)
			off, dear := false, euros(99)
			require.Equal(t, 200, w.admin.do(t, "PATCH", path, orderrest.UpdateProduct{Price: &dear, Active: &off}, "If-Match", `"1"`).status)
			require.Equal(t, o, buyer.order(t, o))
			close(g.open)
			confirmed := buyer.reaches(t, o, orderrest.OrderStatusConfirmed)
			require.Equal(t, o.Total, confirmed.Total)
			require.Equal(t, account{granted: 1000, available: 970, reserved: 30}, w.users.account(t, buyer.id))
		})
		w.users.around(nil, nil)
		t.Run("CancelWhileItTurnsRound", func(t *testing.T) {
			p, buyer, g := w.product(t, euros(10), 10), w.customer(t, 1000), newGate("release")
			down := func(_ context.Context, method, _ string) error {
				if method == "reserve" {
					return fault.New(fault.Internal, "", "the answer is lost")
				}
				return nil
			}
			w.users.around(g.pass, down)
			o := buyer.place(t, 3, p)
			eventually(t, func() bool { return w.users.count("reserve", o.ID.String()) > 0 }, "no reservation")
			require.NoError(t, saga.Compensate(t.Context(), db, "place_order", o.ID.String()))
			<-g.at
			reason := "Too slow"
			require.Equal(t, 200, buyer.act(t, o, "cancel", orderrest.CancelOrder{Reason: &reason}).status)
			close(g.open)
			w.settled(t)
			now := buyer.order(t, o)
			require.Equal(t, orderrest.OrderStatusCancelled, now.Status)
			require.Equal(t, reason, *now.Reason)
			require.Equal(t, int64(10), w.stock(t, p))
			require.Equal(t, whole, w.users.account(t, buyer.id))
			require.Equal(t, map[string]saga.State{"place_order": saga.Compensated}, w.sagas(t, o))
		})
		w.users.around(nil, nil)
		t.Run("OperatorTurnsItRound", func(t *testing.T) {
			p, buyer, g := w.product(t, euros(10), 10), w.customer(t, 1000), newGate("reserve")
			w.users.around(nil, g.pass)
			o := buyer.place(t, 3, p)
			<-g.at
			require.NoError(t, saga.Compensate(t.Context(), db, "place_order", o.ID.String()))
			rejected := buyer.reaches(t, o, orderrest.OrderStatusRejected)
			require.Equal(t, "saga_compensated", *rejected.Reason)
			close(g.open)
			w.settled(t)
			require.Equal(t, rejected, buyer.order(t, o))
			require.Equal(t, int64(10), w.stock(t, p))
			require.Equal(t, whole, w.users.account(t, buyer.id))
		})
		w.users.around(nil, nil)
		t.Run("CancelAfterCompensationFailed", func(t *testing.T) {
			p, buyer, g := w.product(t, euros(10), 10), w.customer(t, 1000), newGate("reserve")
			no := func(_ context.Context, method, _ string) error {
				if method == "release" {
					return fault.New(fault.Conflict, "reservation_captured", "no")
				}
				return nil
			}
			w.users.around(no, g.pass)
			o := buyer.place(t, 3, p)
			<-g.at
			require.NoError(t, saga.Compensate(t.Context(), db, "place_order", o.ID.String()))
			eventually(t, func() bool { return w.sagas(t, o)["place_order"] == saga.CompensationFailed }, "the compensation does not fail")
			close(g.open)
			require.Equal(t, orderrest.OrderStatusPending, buyer.order(t, o).Status)
			require.Equal(t, 200, buyer.act(t, o, "cancel", nil).status)
			w.users.around(nil, nil)
			n, err := saga.Retry(t.Context(), db, saga.Filter{State: saga.CompensationFailed})
			require.NoError(t, err)
			require.Equal(t, 1, n)
			w.settled(t)
			require.Equal(t, orderrest.OrderStatusCancelled, buyer.order(t, o).Status)
			require.Equal(t, int64(10), w.stock(t, p), "given back once")
			require.Equal(t, whole, w.users.account(t, buyer.id))
		})
	})
}

// Cancellations, by buyers, operators and because users are disabled, race the
// sagas that place the orders. Whoever is first decides, and one saga alone
// gives the credit back.
func TestSemanticLock_Races(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		const orders = 60
		p := w.product(t, euros(10), orders)
		buyers, placed, errs := make([]*caller, orders), make([]orderrest.Order, orders), make([]error, orders)
		for i := range buyers {
			buyers[i] = w.customer(t, 10)
		}
		together(orders, func(i int) {
			a, err := buyers[i].try(context.Background(), "POST", "/orders", wanted(1, p))
			if err != nil || a.status != 201 {
				errs[i] = fmt.Errorf("place: %d %s %w", a.status, a.body, err)
				return
			}
			placed[i] = into[orderrest.Order](t, a, 201)
			time.Sleep(rand.N(20 * time.Millisecond)) // so that some come before the confirmation, and some after it
			switch path := "/orders/" + placed[i].ID.String(); i % 3 {
			case 0:
				a, err = buyers[i].try(context.Background(), "POST", path+"/cancel", nil)
				if err != nil || a.status != 200 {
					errs[i] = fmt.Errorf("cancel: %d %s %w", a.status, a.body, err)
				}
			case 1:
				err = saga.Compensate(context.Background(), w.host.DB("order"), "place_order", placed[i].ID.String())
				if err != nil && fault.CodeOf(err) != "saga_state" {
					errs[i] = err
				}
			default:
				w.users.disable(t, buyers[i].id)
			}
		})
		for _, err := range errs {
			require.NoError(t, err)
		}
		for i, o := range placed {
			if i%3 == 2 {
				buyers[i].ends(t, o)
			}
		}
		w.settled(t)
		confirmed := int64(0)
		for i, o := range placed {
			now, sagas := buyers[i].order(t, o), w.sagas(t, o)
			want := account{granted: 10, available: 10, disabled: i%3 == 2}
			switch now.Status {
			case orderrest.OrderStatusConfirmed:
				require.Equal(t, 1, i%3)
				confirmed++
				want.available, want.reserved = 0, 10
				require.Equal(t, map[string]saga.State{"place_order": saga.Completed}, sagas)
			case orderrest.OrderStatusRejected:
				require.NotEqual(t, 0, i%3)
				require.Equal(t, map[string]saga.State{"place_order": saga.Compensated}, sagas)
			case orderrest.OrderStatusCancelled:
				if sagas["place_order"] == saga.Completed {
					require.Equal(t, map[string]saga.State{"place_order": saga.Completed, "cancel_order": saga.Completed}, sagas)
				} else {
					require.Equal(t, map[string]saga.State{"place_order": saga.Compensated}, sagas)
				}
			default:
				t.Fatalf("order %s is %s", o.ID, now.Status)
			}
			require.Equal(t, want, w.users.account(t, buyers[i].id))
		}
		require.Equal(t, orders-confirmed, w.stock(t, p))
	})
}

// ends waits until a disabled buyer's order is over.
func (c *caller) ends(t testing.TB, o orderrest.Order) {
	t.Helper()
	eventually(t, func() bool {
		s := c.order(t, o).Status
		return s == orderrest.OrderStatusCancelled || s == orderrest.OrderStatusRejected
	}, "the order goes on")
}

// Who waits for the order of one user holds nothing of another user's, whose event came with it: otherwise
// those who place and cancel orders of the same product could wait for each other.
func TestSemanticLock_EventsLockAlone(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		d := w.host.DB("order")
		if d.Dialect() != "postgres" {
			return // one transaction holds all of an SQLite file
		}
		p := w.product(t, euros(10), 3)
		buyers, orders := make([]*caller, 3), make([]orderrest.Order, 3)
		for i := range buyers {
			buyers[i] = w.customer(t, 10)
			orders[i] = buyers[i].reaches(t, buyers[i].place(t, 1, p), orderrest.OrderStatusConfirmed)
		}
		count := func(query string) (n int) {
			require.NoError(t, d.Conn(t.Context()).Raw(query).Scan(&n).Error)
			return n
		}
		waits := func() bool {
			return count("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '% FROM orders WHERE buyer_id %'") > 0
		}
		first, last := lock(t, d, orders[0]), lock(t, d, orders[2])
		w.users.disable(t, buyers[0].id)
		eventually(t, waits, "the first event does not wait for its order")
		w.users.disable(t, buyers[1].id)
		w.users.disable(t, buyers[2].id)
		eventually(t, func() bool { return count("SELECT count(*) FROM inbox WHERE state = 'pending'") == 3 }, "the events do not arrive")
		first()
		buyers[0].reaches(t, orders[0], orderrest.OrderStatusCancelled)
		eventually(t, waits, "the last event does not wait for its order")
		require.Equal(t, orderrest.OrderStatusCancelled, buyers[1].order(t, orders[1]).Status)
		last()
		buyers[2].reaches(t, orders[2], orderrest.OrderStatusCancelled)
		w.settled(t)
		require.Equal(t, int64(3), w.stock(t, p))
	})
}

// lock holds an order's row until the returned func is called.
func lock(t *testing.T, d *db.DB, o orderrest.Order) (release func()) {
	t.Helper()
	held, done, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- d.Tx(context.Background(), func(ctx context.Context) error {
			if err := d.Conn(ctx).Exec("SELECT 1 FROM orders WHERE id = ? FOR UPDATE", o.ID.String()).Error; err != nil {
				return err
			}
			close(held)
			<-done
			return nil
		})
	}()
	release = sync.OnceFunc(func() {
		close(done)
		require.NoError(t, <-ended)
	})
	t.Cleanup(release)
	select {
	case <-held:
	case err := <-ended:
		t.Fatal(err)
	}
	return release
}
