package order

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	orderrest "cleave/modules/order/v1/rest"
)

// orders reads all pages of the caller's list; query begins with & or is empty.
func (c *caller) orders(t testing.TB, query ...string) (all []orderrest.Order) {
	t.Helper()
	path := "/orders?limit=3"
	for _, q := range query {
		path += "&" + q
	}
	next := ""
	for {
		page := into[orderrest.OrderList](t, c.do(t, "GET", path+next, nil), 200)
		require.LessOrEqual(t, len(page.Items), 3)
		all = append(all, page.Items...)
		if page.NextCursor == nil {
			return all
		}
		require.Len(t, page.Items, 3)
		next = "&cursor=" + *page.NextCursor
	}
}

func TestReadOrders(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		lamp, desk := w.product(t, euros(10), 100), w.product(t, euros(20), 100)
		buyer, other := w.customer(t, 1000), w.customer(t, 1000)
		placed := make([]orderrest.Order, 9) // three full pages
		for i := range placed {
			placed[len(placed)-1-i] = buyer.place(t, 1, desk, lamp)
		}
		foreign := other.place(t, 1, lamp)
		w.settled(t)
		for i := range placed {
			placed[i] = buyer.order(t, placed[i])
			require.Equal(t, orderrest.OrderStatusConfirmed, placed[i].Status)
		}
		placed[4] = into[orderrest.Order](t, buyer.act(t, placed[4], "cancel", nil), 200)

		t.Run("One", func(t *testing.T) {
			t.Parallel()
			refused(t, other.do(t, "GET", "/orders/"+placed[0].ID.String(), nil), 404, "order_not_found")
			refused(t, buyer.do(t, "GET", "/orders/"+uuid.NewString(), nil), 404, "order_not_found")
			refused(t, buyer.do(t, "GET", "/orders/7", nil), 400, "invalid", "order_id", "order_id")
			require.Equal(t, placed[0], w.admin.order(t, placed[0]))
			a := buyer.do(t, "GET", "/orders/"+placed[0].ID.String(), nil)
			require.Equal(t, `"2"`, a.header.Get("ETag"))
		})
		t.Run("Own", func(t *testing.T) {
			t.Parallel()
			require.Equal(t, placed, buyer.orders(t))
			require.Equal(t, placed, buyer.orders(t, "user_id="+buyer.id))
			require.Equal(t, []orderrest.Order{placed[4]}, buyer.orders(t, "status=cancelled"))
			require.Len(t, buyer.orders(t, "status=confirmed"), 8)
			refused(t, buyer.do(t, "GET", "/orders?user_id="+other.id, nil), 403, "forbidden", "user_id")
		})
		t.Run("All", func(t *testing.T) {
			t.Parallel()
			all := w.admin.orders(t)
			require.Len(t, all, 10)
			require.Equal(t, foreign.ID, all[0].ID)
			require.Equal(t, placed, all[1:])
			require.Equal(t, placed, w.admin.orders(t, "user_id="+buyer.id))
			require.Equal(t, all[:1], w.admin.orders(t, "user_id="+other.id, "status=confirmed"))
		})
		t.Run("Cursor", func(t *testing.T) {
			t.Parallel()
			cursor := *into[orderrest.OrderList](t, buyer.do(t, "GET", "/orders?limit=3", nil), 200).NextCursor
			require.Equal(t, 200, buyer.do(t, "GET", "/orders?cursor="+cursor, nil).status)
			for _, path := range []string{"/orders?status=confirmed&cursor=" + cursor, "/orders?cursor=A" + cursor, "/products?cursor=" + cursor} {
				refused(t, buyer.do(t, "GET", path, nil), 400, "cursor_invalid", "cursor")
			}
			refused(t, other.do(t, "GET", "/orders?cursor="+cursor, nil), 400, "cursor_invalid", "cursor")
			for _, limit := range []string{"0", "101", "x"} {
				refused(t, buyer.do(t, "GET", "/orders?limit="+limit, nil), 400, "invalid", "limit")
			}
		})
	})
}

func TestAuthorisation(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		p, o := "/products/"+uuid.NewString(), "/orders/"+uuid.NewString()
		anonymous := &caller{url: w.admin.url}
		nobody := w.caller(t, "stranger")
		customer := w.customer(t, 0)
		for _, c := range []struct {
			method, path string
			body         any
			adminOnly    bool
		}{
			{"GET", "/products", nil, false},
			{"POST", "/products", `{}`, true},
			{"GET", p, nil, false},
			{"PATCH", p, `{}`, true},
			{"POST", p + "/stock", `{}`, true},
			{"GET", "/orders", nil, false},
			{"POST", "/orders", `{}`, false},
			{"GET", o, nil, false},
			{"POST", o + "/cancel", nil, false},
			{"POST", o + "/ship", nil, true},
			{"POST", o + "/deliver", nil, true},
		} {
			refused(t, anonymous.do(t, c.method, c.path, c.body), 401, "token_missing")
			refused(t, nobody.do(t, c.method, c.path, c.body), 403, "permission_denied")
			a := customer.do(t, c.method, c.path, c.body)
			if c.adminOnly {
				refused(t, a, 403, "permission_denied")
			} else {
				require.NotEqual(t, 403, a.status, "%s %s", c.method, c.path)
			}
			require.NotContains(t, []int{401, 403}, w.admin.do(t, c.method, c.path, c.body).status)
		}
	})
}
