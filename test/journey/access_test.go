package journey_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	orderrest "cleave/modules/order/v1/rest"
)

// access is what callers try with what is not theirs.
func (s *scene) access() []request {
	order, user := "/api/v1/orders/"+s.order.ID.String(), "/api/v1/users/"+s.buyer.id.String()
	return []request{
		{name: "OthersOrder", from: s.other, method: "GET", path: order, status: 404, code: "order_not_found"},
		{name: "OthersOrderCancelled", from: s.other, method: "POST", path: order + "/cancel", body: `{"reason":"not mine"}`, status: 404, code: "order_not_found"},
		{name: "OthersOrders", from: s.other, method: "GET", path: "/api/v1/orders?user_id=" + s.buyer.id.String(), status: 403, code: "forbidden"},
		{name: "OthersProfile", from: s.other, method: "GET", path: user, status: 403, code: "not_owner"},
		{name: "OthersCredit", from: s.other, method: "GET", path: user + "/credit", status: 403, code: "not_owner"},
		{name: "OthersLedger", from: s.other, method: "GET", path: user + "/credit/entries", status: 403, code: "not_owner"},
		{name: "OwnTopUp", from: s.buyer, method: "POST", path: user + "/credit/top-ups", body: `{"amount":{"minor_units":1,"currency":"EUR"}}`, status: 403, code: "permission_denied"},
		{name: "OwnShipping", from: s.buyer, method: "POST", path: order + "/ship", status: 403, code: "permission_denied"},
		{name: "Users", from: s.buyer, method: "GET", path: "/api/v1/users", status: 403, code: "permission_denied"},
		{name: "Disable", from: s.buyer, method: "POST", path: "/api/v1/users/" + s.other.id.String() + "/disable", status: 403, code: "permission_denied"},
		{name: "Catalogue", from: s.buyer, method: "POST", path: "/api/v1/products", body: `{}`, status: 403, code: "permission_denied"},
		{name: "OffSale", from: s.buyer, method: "GET", path: "/api/v1/products?active=false", status: 403, code: "forbidden"},
		{name: "Stranger", from: s.unknown, method: "POST", path: "/api/v1/orders", body: s.line("1"), status: 401, code: "token_missing"},
		{name: "WrongToken", from: s.unknown, method: "GET", path: "/api/v1/me", headers: []string{"Authorization", "Bearer " + s.buyer.token[:len(s.buyer.token)-8] + "AAAAAAAA"}, status: 401, code: "token_invalid"},
		{name: "WrongPassword", from: s.unknown, method: "POST", path: "/api/v1/sessions", body: fmt.Sprintf(`{"email":%q,"password":"incorrect horse"}`, s.buyer.email), status: 401, code: "credentials_invalid"},
		{name: "UnknownUser", from: s.unknown, method: "POST", path: "/api/v1/sessions", body: `{"email":"nobody@example.com","password":"incorrect horse"}`, status: 401, code: "credentials_invalid"},
		{name: "RefreshToken", from: s.unknown, method: "POST", path: "/api/v1/sessions/refresh", body: `{"refresh_token":"AAAAAAAAAAAAAAAAAAAAAAAA"}`, status: 401, code: "refresh_token_invalid"},
	}
}

// taken is what can be had once.
func (s *scene) taken() []request {
	return []request{
		{
			name: "SKU", from: s.w.admin, method: "POST", path: "/api/v1/products", status: 409, code: "sku_taken",
			body: fmt.Sprintf(`{"sku":%q,"name":"new","price":{"minor_units":1,"currency":"EUR"},"stock":1}`, s.lamp.SKU),
		},
		{
			name: "FirstAdmin", from: s.unknown, method: "POST", path: "/api/v1/users/first-admin", status: 409, code: "first_admin_exists",
			body: fmt.Sprintf(`{"token":%q,"email":"new@example.com","password":%q,"display_name":"Eve"}`, s.w.server.token, password),
		},
		{
			name: "LastAdmin", from: s.w.admin, method: "POST", path: "/api/v1/users/" + s.w.admin.id.String() + "/disable", status: 409, code: "own_account",
		},
	}
}

// cursors are good for the list, the filters and the caller they were made for.
func (s *scene) cursors(t *testing.T) (list []request) {
	first := func(from *caller, path string) string {
		var page orderrest.ProductList // any list looks like this, as far as the cursor goes
		r := from.send(t, "GET", path, "")
		require.Equal(t, 200, r.status, "%s", r.body)
		decode(t, r.body, &page)
		require.NotNil(t, page.NextCursor)
		return *page.NextCursor
	}
	products := first(s.buyer, "/api/v1/products?limit=1")
	filtered := first(s.buyer, "/api/v1/products?limit=1&q=lamp")
	s.buyer.reaches(t, s.buyer.place(t, 1, s.lamp).ID, orderrest.OrderStatusConfirmed)
	orders := first(s.buyer, "/api/v1/orders?limit=1")
	users := first(s.w.admin, "/api/v1/users?limit=1")
	altered := []byte(products)
	if altered[10]++; altered[10] < 'B' || altered[10] > 'Z' { // another letter of the alphabet that cursors use
		altered[10] = 'A'
	}
	for name, r := range map[string]struct {
		from *caller
		path string
	}{
		"OtherList":    {s.buyer, "/api/v1/orders?cursor=" + products},
		"OtherModule":  {s.w.admin, "/api/v1/products?cursor=" + users},
		"NoFilter":     {s.buyer, "/api/v1/products?cursor=" + filtered},
		"OtherFilter":  {s.buyer, "/api/v1/products?q=desk&cursor=" + filtered},
		"MoreFilter":   {s.buyer, "/api/v1/products?active=true&cursor=" + products},
		"OthersCursor": {s.other, "/api/v1/orders?cursor=" + orders},
		"OthersRights": {s.w.admin, "/api/v1/orders?cursor=" + orders},
		"Altered":      {s.buyer, "/api/v1/products?cursor=" + string(altered)},
		"CutOff":       {s.buyer, "/api/v1/products?cursor=" + products[:len(products)-1]},
		"MadeUp":       {s.buyer, "/api/v1/products?cursor=eyJhdCI6MTc5NTQxMzAwMDAwMDAwMH0"},
		"Number":       {s.buyer, "/api/v1/notifications?cursor=42"},
	} {
		list = append(list, request{name: name, from: r.from, method: "GET", path: r.path, status: 400, code: "cursor_invalid", fields: []string{"cursor cursor_invalid"}})
	}
	return list
}
