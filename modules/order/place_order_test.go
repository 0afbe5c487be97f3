package order

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	orderv1 "cleave/modules/order/v1"
	orderrest "cleave/modules/order/v1/rest"
	"cleave/platform/fault"
)

func money(n int64) *orderv1.Money { return &orderv1.Money{MinorUnits: n, CurrencyCode: "EUR"} }

var errDown = fault.New(fault.Unavailable, "", "down")

func TestPlaceOrder(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		t.Run("Confirmed", func(t *testing.T) {
			t.Parallel()
			lamp, desk := w.product(t, euros(1299), 10), w.product(t, euros(20000), 5)
			buyer := w.customer(t, 100_000)
			a := buyer.do(t, "POST", "/orders", wanted(2, lamp, desk))
			o := into[orderrest.Order](t, a, 201)
			require.Equal(t, `"1"`, a.header.Get("ETag"))
			require.Equal(t, "/api/v1/orders/"+o.ID.String(), a.header.Get("Location"))
			require.Equal(t, buyer.id, o.BuyerID.String())
			require.Equal(t, euros(42598), o.Total)
			require.Equal(t, []orderrest.OrderLine{
				{ProductID: lamp.ID, SKU: lamp.SKU, Name: lamp.Name, Quantity: 2, UnitPrice: euros(1299), Total: euros(2598)},
				{ProductID: desk.ID, SKU: desk.SKU, Name: desk.Name, Quantity: 2, UnitPrice: euros(20000), Total: euros(40000)},
			}, o.Lines)

			confirmed := buyer.reaches(t, o, orderrest.OrderStatusConfirmed)
			require.Equal(t, int64(2), confirmed.Version)
			o.Status, o.Version, o.UpdatedAt = confirmed.Status, confirmed.Version, confirmed.UpdatedAt
			require.Equal(t, o, confirmed)
			require.Equal(t, int64(8), w.stock(t, lamp))
			require.Equal(t, int64(3), w.stock(t, desk))
			require.Equal(t, account{granted: 100_000, available: 57_402, reserved: 42_598}, w.users.account(t, buyer.id))
			w.events.wait(t, o.ID, &orderv1.OrderPlaced{
				OrderId: o.ID.String(), Number: o.Number, BuyerId: buyer.id, Total: money(42598), Lines: []*orderv1.OrderLine{
					{ProductId: lamp.ID.String(), Name: lamp.Name, Quantity: 2, UnitPrice: money(1299)},
					{ProductId: desk.ID.String(), Name: desk.Name, Quantity: 2, UnitPrice: money(20000)},
				},
			})
			w.events.wait(t, o.ID, &orderv1.OrderConfirmed{OrderId: o.ID.String(), Number: o.Number, BuyerId: buyer.id, Total: money(42598)})
		})
		t.Run("Rejected", func(t *testing.T) {
			t.Parallel()
			disabled, poor := w.customer(t, 1000), w.customer(t, 99)
			w.users.mu.Lock()
			w.users.accounts[disabled.id].disabled = true
			w.users.mu.Unlock()
			for reason, c := range map[string]struct {
				buyer *caller
				price orderrest.Money
			}{
				"insufficient_credit": {poor, euros(100)},
				"user_disabled":       {disabled, euros(100)},
				"buyer_unknown":       {w.caller(t, "customer"), euros(100)},
				"currency_mismatch":   {w.customer(t, 1000), orderrest.Money{MinorUnits: 100, Currency: "USD"}},
			} {
				p := w.product(t, c.price, 1)
				o := c.buyer.place(t, 1, p)
				rejected := c.buyer.reaches(t, o, orderrest.OrderStatusRejected)
				require.Equal(t, reason, *rejected.Reason)
				require.Equal(t, int64(1), w.stock(t, p), "the stock is given back")
				w.events.wait(t, o.ID, &orderv1.OrderRejected{
					OrderId: o.ID.String(), Number: o.Number, BuyerId: c.buyer.id, Reason: reason,
					Total: &orderv1.Money{MinorUnits: 100, CurrencyCode: c.price.Currency},
				})
			}
			require.Equal(t, account{granted: 99, available: 99}, w.users.account(t, poor.id))
		})
		t.Run("Free", func(t *testing.T) {
			t.Parallel()
			buyer := w.customer(t, 0)
			o := buyer.place(t, 3, w.product(t, euros(0), 3))
			buyer.reaches(t, o, orderrest.OrderStatusConfirmed)
			require.Equal(t, 200, w.admin.act(t, o, "ship", nil).status)
			other := buyer.place(t, 1, w.product(t, euros(0), 3))
			require.Equal(t, 200, buyer.act(t, other, "cancel", nil).status)
			w.settled(t)
			for _, method := range []string{"reserve", "capture", "release"} {
				require.Zero(t, w.users.count(method, o.ID.String()))
				require.Zero(t, w.users.count(method, other.ID.String()))
			}
		})
		t.Run("Repeated", func(t *testing.T) {
			t.Parallel()
			p, buyer := w.product(t, euros(10), 100), w.customer(t, 1000)
			key := []string{"Idempotency-Key", uuid.NewString()}
			first := buyer.do(t, "POST", "/orders", wanted(3, p), key...)
			o := into[orderrest.Order](t, first, 201)
			buyer.reaches(t, o, orderrest.OrderStatusConfirmed)
			again := buyer.do(t, "POST", "/orders", wanted(3, p), key...)
			require.Equal(t, first.body, again.body)
			require.Equal(t, first.header.Get("ETag"), again.header.Get("ETag"))
			require.Equal(t, first.header.Get("Location"), again.header.Get("Location"))
			require.Equal(t, int64(97), w.stock(t, p))
			refused(t, buyer.do(t, "POST", "/orders", wanted(4, p), key...), 422, "idempotency_key_reused")
			require.Equal(t, int64(97), w.stock(t, p))
		})
		t.Run("Refused", func(t *testing.T) {
			t.Parallel()
			lamp, dollar, scarce, gold := w.product(t, euros(1), 100), w.product(t, orderrest.Money{MinorUnits: 1, Currency: "USD"}, 100),
				w.product(t, euros(1), 2), w.product(t, euros(1_000_000_000_000), 100)
			hidden, unknown := w.product(t, euros(1), 100), orderrest.Product{ID: uuid.New()}
			off := false
			require.Equal(t, 200, w.admin.do(t, "PATCH", "/products/"+hidden.ID.String(), orderrest.UpdateProduct{Active: &off}, "If-Match", `"1"`).status)
			buyer := w.customer(t, 1000)
			for name, c := range map[string]struct {
				body   any
				status int
				code   string
				fields []string
			}{
				"Unknown":         {wanted(1, unknown, lamp), 422, "product_unknown", []string{"/lines/0/product_id"}},
				"Inactive":        {wanted(1, lamp, hidden), 422, "product_inactive", []string{"/lines/1/product_id"}},
				"OutOfStock":      {wanted(3, lamp, scarce), 409, "out_of_stock", []string{"/lines/1/quantity"}},
				"MixedCurrencies": {wanted(1, lamp, dollar), 422, "mixed_currencies", []string{"/lines/1/product_id"}},
				"Twice":           {wanted(1, lamp, lamp), 422, "duplicate_product", []string{"/lines/1/product_id"}},
				"TooExpensive":    {wanted(2, gold), 422, "amount_overflow", []string{"/lines/0/quantity"}},
				"NoLines":         {`{"lines":[]}`, 422, "invalid", []string{"/lines"}},
				"NegativePieces":  {wanted(-1, lamp), 422, "invalid", []string{"/lines/0/quantity"}},
				"OwnPrice":        {`{"lines":[{"product_id":"` + lamp.ID.String() + `","quantity":1,"unit_price":1}]}`, 400, "invalid", []string{"/lines/0/unit_price"}},
				"NotJSON":         {`{"lines":`, 400, "invalid", nil},
			} {
				a := buyer.do(t, "POST", "/orders", c.body)
				require.Equal(t, c.status, a.status, "%s: %s", name, a.body)
				if c.code != "invalid" {
					refused(t, a, c.status, c.code, c.fields...)
				}
			}
			list := into[orderrest.OrderList](t, buyer.do(t, "GET", "/orders", nil), 200)
			require.Empty(t, list.Items, "nothing was written")
			require.Equal(t, int64(100), w.stock(t, lamp))
		})
	})
}

func TestPlaceOrderThroughFailures(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		p, buyer := w.product(t, euros(10), 100), w.customer(t, 1000)
		var failures atomic.Int64
		fail := func(_ context.Context, method, _ string) error {
			if method == "reserve" && failures.Add(1) <= 3 {
				return errDown
			}
			return nil
		}
		for name, set := range map[string]func(){
			"Down":       func() { w.users.around(fail, nil) },
			"LostAnswer": func() { w.users.around(nil, fail) },
		} {
			t.Run(name, func(t *testing.T) {
				failures.Store(0)
				set()
				before := w.users.account(t, buyer.id)
				o := buyer.place(t, 1, p)
				buyer.reaches(t, o, orderrest.OrderStatusConfirmed)
				require.Equal(t, 4, w.users.count("reserve", o.ID.String()))
				require.Equal(t, before.reserved+10, w.users.account(t, buyer.id).reserved)
			})
		}
		require.Equal(t, int64(98), w.stock(t, p))
	})
}

func TestPlaceOrderTimeout(t *testing.T) {
	short := func(s *settings) { s.PlaceTimeout = 300 * time.Millisecond }
	eachWith(t, short, func(t *testing.T, w *world) {
		down := func(_ context.Context, method, _ string) error {
			if method == "reserve" {
				return errDown
			}
			return nil
		}
		for name, set := range map[string]func(){
			"Down":       func() { w.users.around(down, nil) },
			"LostAnswer": func() { w.users.around(nil, down) },
		} {
			t.Run(name, func(t *testing.T) {
				set()
				p, buyer := w.product(t, euros(10), 100), w.customer(t, 1000)
				o := buyer.place(t, 1, p)
				rejected := buyer.reaches(t, o, orderrest.OrderStatusRejected)
				require.Equal(t, "timeout", *rejected.Reason)
				require.Equal(t, int64(100), w.stock(t, p))
				w.settled(t)
				require.Equal(t, account{granted: 1000, available: 1000}, w.users.account(t, buyer.id))
				require.Positive(t, w.users.count("release", o.ID.String()))
			})
		}
	})
}
