package order

import (
	"context"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	orderv1 "cleave/modules/order/v1"
	orderrest "cleave/modules/order/v1/rest"
)

// gate stops the calls of one method until it is opened. Calls that come while
// it is closed are counted in at.
type gate struct {
	method string
	at     chan struct{}
	open   chan struct{}
}

func newGate(method string) *gate {
	return &gate{method: method, at: make(chan struct{}, 100), open: make(chan struct{})}
}

func (g *gate) pass(ctx context.Context, method, _ string) error {
	if method != g.method {
		return nil
	}
	g.at <- struct{}{}
	select {
	case <-g.open:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestCancelOrder(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		// ended requires that a cancelled order holds nothing.
		ended := func(t *testing.T, buyer *caller, p orderrest.Product, o orderrest.Order) {
			t.Helper()
			w.settled(t)
			require.Equal(t, orderrest.OrderStatusCancelled, buyer.order(t, o).Status)
			require.Equal(t, int64(10), w.stock(t, p), "the stock is given back, once")
			require.Equal(t, account{granted: 1000, available: 1000}, w.users.account(t, buyer.id))
		}
		t.Run("Confirmed", func(t *testing.T) {
			p, buyer := w.product(t, euros(10), 10), w.customer(t, 1000)
			o := buyer.place(t, 3, p)
			buyer.reaches(t, o, orderrest.OrderStatusConfirmed)
			reason := "Ordered by mistake"
			a := buyer.act(t, o, "cancel", orderrest.CancelOrder{Reason: &reason})
			cancelled := into[orderrest.Order](t, a, 200)
			require.Equal(t, `"3"`, a.header.Get("ETag"))
			require.Equal(t, orderrest.OrderStatusCancelled, cancelled.Status)
			require.Equal(t, reason, *cancelled.Reason)
			require.Equal(t, cancelled, buyer.order(t, o))
			ended(t, buyer, p, o)
			w.events.wait(t, o.ID, &orderv1.OrderCancelled{OrderId: o.ID.String(), Number: o.Number, BuyerId: buyer.id, Total: money(30), Reason: reason})
			refused(t, buyer.act(t, o, "cancel", nil), 409, "order_transition")
			ended(t, buyer, p, o)
		})
		t.Run("BeforeReserve", func(t *testing.T) {
			p, buyer, g := w.product(t, euros(10), 10), w.customer(t, 1000), newGate("reserve")
			w.users.around(g.pass, nil)
			o := buyer.place(t, 3, p)
			<-g.at
			require.Equal(t, 200, buyer.act(t, o, "cancel", nil).status)
			eventually(t, func() bool { return w.users.count("release", o.ID.String()) == 1 }, "the credit is not released")
			close(g.open)
			ended(t, buyer, p, o)
		})
		t.Run("AfterReserve", func(t *testing.T) {
			p, buyer, g := w.product(t, euros(10), 10), w.customer(t, 1000), newGate("reserve")
			w.users.around(nil, g.pass)
			o := buyer.place(t, 3, p)
			<-g.at
			require.Equal(t, int64(30), w.users.account(t, buyer.id).reserved)
			require.Equal(t, 200, buyer.act(t, o, "cancel", nil).status)
			eventually(t, func() bool { return w.users.count("release", o.ID.String()) == 1 }, "the credit is not released")
			close(g.open)
			ended(t, buyer, p, o)
			require.Equal(t, 1, w.users.count("release", o.ID.String()))
		})
		t.Run("BeforeRelease", func(t *testing.T) {
			p, buyer, reserve, release := w.product(t, euros(10), 10), w.customer(t, 1000), newGate("reserve"), newGate("release")
			w.users.around(release.pass, reserve.pass)
			o := buyer.place(t, 3, p)
			<-reserve.at
			require.Equal(t, 200, buyer.act(t, o, "cancel", nil).status)
			<-release.at
			close(reserve.open)
			require.Equal(t, orderrest.OrderStatusCancelled, buyer.order(t, o).Status)
			close(release.open)
			ended(t, buyer, p, o)
		})
		w.users.around(nil, nil)
		t.Run("ReleaseFails", func(t *testing.T) {
			p, buyer := w.product(t, euros(10), 10), w.customer(t, 1000)
			o := buyer.place(t, 3, p)
			buyer.reaches(t, o, orderrest.OrderStatusConfirmed)
			fail := func(_ context.Context, method, key string) error {
				if method == "release" && w.users.count(method, key) < 5 {
					return errDown
				}
				return nil
			}
			w.users.around(fail, nil)
			require.Equal(t, 200, buyer.act(t, o, "cancel", nil).status)
			ended(t, buyer, p, o)
			require.Equal(t, 5, w.users.count("release", o.ID.String()))
		})
		w.users.around(nil, nil)
		t.Run("SomeoneElses", func(t *testing.T) {
			p, buyer, other := w.product(t, euros(10), 10), w.customer(t, 1000), w.customer(t, 1000)
			o := buyer.place(t, 3, p)
			buyer.reaches(t, o, orderrest.OrderStatusConfirmed)
			refused(t, other.act(t, o, "cancel", nil), 404, "order_not_found")
			refused(t, other.act(t, orderrest.Order{ID: uuid.New()}, "cancel", nil), 404, "order_not_found")
			require.Equal(t, orderrest.OrderStatusConfirmed, buyer.order(t, o).Status)
			require.Equal(t, 200, w.admin.act(t, o, "cancel", nil).status)
			ended(t, buyer, p, o)
		})
		t.Run("Repeated", func(t *testing.T) {
			p, buyer := w.product(t, euros(10), 10), w.customer(t, 1000)
			o := buyer.place(t, 3, p)
			buyer.reaches(t, o, orderrest.OrderStatusConfirmed)
			path, key := "/orders/"+o.ID.String()+"/cancel", uuid.NewString()
			first := buyer.do(t, "POST", path, nil, "Idempotency-Key", key)
			again := buyer.do(t, "POST", path, nil, "Idempotency-Key", key)
			require.Equal(t, 200, first.status)
			require.Equal(t, first.body, again.body)
			ended(t, buyer, p, o)
		})
	})
}

func TestOnUserDisabled(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		p, buyer, other := w.product(t, euros(1), 10_000), w.customer(t, 1000), w.customer(t, 1000)
		shipped, kept := buyer.place(t, 1, p), other.place(t, 1, p)
		buyer.reaches(t, shipped, orderrest.OrderStatusConfirmed)
		require.Equal(t, 200, w.admin.act(t, shipped, "ship", nil).status)
		open := make([]orderrest.Order, 101) // more than one batch
		for i := range open {
			open[i] = buyer.place(t, 1, p)
		}
		w.settled(t)
		g := newGate("reserve")
		w.users.around(g.pass, nil)
		pending := buyer.place(t, 1, p)
		<-g.at

		w.users.disable(t, buyer.id)
		for _, o := range append(open, pending) {
			require.Equal(t, "user_disabled", *buyer.reaches(t, o, orderrest.OrderStatusCancelled).Reason)
		}
		close(g.open)
		w.settled(t)
		require.Equal(t, orderrest.OrderStatusShipped, buyer.order(t, shipped).Status)
		require.Equal(t, orderrest.OrderStatusConfirmed, other.order(t, kept).Status)
		require.Equal(t, int64(9998), w.stock(t, p))
		require.Equal(t, account{granted: 1000, available: 999, captured: 1}, func() account { a := w.users.account(t, buyer.id); a.disabled = false; return a }())
		w.events.wait(t, pending.ID, &orderv1.OrderCancelled{
			OrderId: pending.ID.String(), Number: pending.Number, BuyerId: buyer.id, Total: money(1), Reason: "user_disabled",
		})
	})
}
