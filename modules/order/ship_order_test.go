package order

import (
	"context"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	orderv1 "cleave/modules/order/v1"
	orderrest "cleave/modules/order/v1/rest"
)

func TestShipOrder(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		p, buyer := w.product(t, euros(10), 10), w.customer(t, 1000)
		o := buyer.place(t, 3, p)
		buyer.reaches(t, o, orderrest.OrderStatusConfirmed)

		refused(t, buyer.act(t, o, "ship", nil), 403, "permission_denied")
		refused(t, w.admin.act(t, orderrest.Order{ID: uuid.New()}, "ship", nil), 404, "order_not_found")
		refused(t, w.admin.act(t, orderrest.Order{ID: uuid.New()}, "deliver", nil), 404, "order_not_found")

		// The first attempt fails, the second one's answer is lost.
		before := func(_ context.Context, method, key string) error {
			if method == "capture" && w.users.count(method, key) == 1 {
				return errDown
			}
			return nil
		}
		after := func(_ context.Context, method, key string) error {
			if method == "capture" && w.users.count(method, key) == 2 {
				return errDown
			}
			return nil
		}
		w.users.around(before, after)
		code := "JD014600003948"
		a := w.admin.act(t, o, "ship", orderrest.ShipOrder{TrackingCode: &code})
		shipped := into[orderrest.Order](t, a, 200)
		require.Equal(t, `"3"`, a.header.Get("ETag"))
		require.Equal(t, orderrest.OrderStatusShipped, shipped.Status)
		require.Equal(t, code, *shipped.TrackingCode)
		w.settled(t)
		require.Equal(t, 3, w.users.count("capture", o.ID.String()))
		require.Equal(t, account{granted: 1000, available: 970, captured: 30}, w.users.account(t, buyer.id))
		w.events.wait(t, o.ID, &orderv1.OrderShipped{OrderId: o.ID.String(), Number: o.Number, BuyerId: buyer.id, Total: money(30), TrackingCode: code})

		delivered := into[orderrest.Order](t, w.admin.act(t, o, "deliver", nil), 200)
		require.Equal(t, orderrest.OrderStatusDelivered, delivered.Status)
		require.Equal(t, int64(4), delivered.Version)
		require.Equal(t, delivered, buyer.order(t, o))
		w.events.wait(t, o.ID, &orderv1.OrderDelivered{OrderId: o.ID.String(), Number: o.Number, BuyerId: buyer.id, Total: money(30)})
		require.Equal(t, int64(7), w.stock(t, p))
	})
}

// A capture that the user module refuses stays behind where it can be seen.
func TestShipOrderWithoutReservation(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		p, buyer := w.product(t, euros(10), 10), w.customer(t, 1000)
		o := buyer.place(t, 1, p)
		buyer.reaches(t, o, orderrest.OrderStatusConfirmed)
		w.users.mu.Lock()
		w.users.reservations[o.ID.String()].state = "released"
		w.users.mu.Unlock()
		require.Equal(t, 200, w.admin.act(t, o, "ship", nil).status)
		eventually(t, func() bool {
			var state string
			require.NoError(t, w.host.DB("order").Conn(t.Context()).Raw("SELECT state FROM sagas WHERE name = 'ship_order' AND id = ?", o.ID.String()).Scan(&state).Error)
			return state == "compensation_failed"
		}, "the saga does not stop")
	})
}

func TestIllegalTransitions(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		p, buyer := w.product(t, euros(10), 1000), w.customer(t, 1000)
		confirmed := func() orderrest.Order {
			o := buyer.place(t, 1, p)
			return buyer.reaches(t, o, orderrest.OrderStatusConfirmed)
		}
		do := func(o orderrest.Order, actions ...string) orderrest.Order {
			for _, action := range actions {
				o = into[orderrest.Order](t, w.admin.act(t, o, action, nil), 200)
			}
			return o
		}
		poor := w.customer(t, 0)
		orders := map[string]orderrest.Order{
			"confirmed": confirmed(), "shipped": do(confirmed(), "ship"), "delivered": do(confirmed(), "ship", "deliver"),
			"cancelled": do(confirmed(), "cancel"), "rejected": poor.reaches(t, poor.place(t, 1, p), orderrest.OrderStatusRejected),
		}
		w.settled(t)
		g := newGate("reserve")
		w.users.around(g.pass, nil)
		orders["pending"] = buyer.place(t, 1, p)
		stock, credit := w.stock(t, p), w.users.account(t, buyer.id)

		for state, actions := range map[string][]string{
			"pending":   {"ship", "deliver"},
			"confirmed": {"deliver"},
			"rejected":  {"cancel", "ship", "deliver"},
			"shipped":   {"cancel", "ship"},
			"delivered": {"cancel", "ship", "deliver"},
			"cancelled": {"cancel", "ship", "deliver"},
		} {
			for _, action := range actions {
				a := w.admin.act(t, orders[state], action, nil)
				refused(t, a, 409, "order_transition")
				require.Contains(t, *a.problem.Detail, "the order is "+state)
				require.Equal(t, orders[state], w.admin.order(t, orders[state]), "%s %s", action, state)
			}
		}
		require.Equal(t, stock, w.stock(t, p))
		require.Equal(t, credit, w.users.account(t, buyer.id))
		close(g.open)
		buyer.reaches(t, orders["pending"], orderrest.OrderStatusConfirmed)
	})
}
