package journey_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	orderrest "cleave/modules/order/v1/rest"
)

// request is one that must be refused, and how.
type request struct {
	name         string
	from         *caller
	method, path string
	body         string
	headers      []string
	status       int
	code         string
	fields       []string // each as "field code"; nil: any
}

// scene is what bad requests are about.
type scene struct {
	w                     *world
	buyer, other, unknown *caller
	lamp, dollar, gold    orderrest.Product
	off                   orderrest.Product // not on sale
	order                 orderrest.Order   // the buyer's, confirmed
}

// TestBadInput makes requests that are wrong in every way we could think of.
// Each gets its exact problem, and nothing is written.
func TestBadInput(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		s := &scene{w: w, buyer: w.customer(t, 5000), other: w.customer(t, 5000), unknown: newCaller(t, w.server.url)}
		s.lamp, s.gold, s.off = w.newProduct(t, 1000, 100), w.newProduct(t, 1_000_000_000_000, 100), w.newProduct(t, 1, 1)
		s.dollar = w.newProductIn(t, orderrest.Money{MinorUnits: 100, Currency: "USD"}, 100)
		off, err := w.admin.orders.UpdateProductWithResponse(t.Context(), s.off.ID, &orderrest.UpdateProductParams{IfMatch: `"1"`}, orderrest.UpdateProduct{Active: ptr(false)})
		require.NoError(t, err)
		value(t, off.JSON200, off)
		s.order = s.buyer.reaches(t, s.buyer.place(t, 1, s.lamp).ID, orderrest.OrderStatusConfirmed)
		groups := map[string][]request{
			"Body": s.bodies(), "Quantity": s.quantities(), "Amount": s.amounts(), "Text": s.texts(), "Parameter": s.parameters(),
			"Unknown": s.unknowns(), "Access": s.access(), "Taken": s.taken(), "Cursor": s.cursors(t),
		}
		w.balanced(t)
		before := w.state(t)
		for group, requests := range groups {
			t.Run(group, func(t *testing.T) {
				for _, r := range requests {
					t.Run(r.name, func(t *testing.T) {
						refused(t, r.from.send(t, r.method, r.path, r.body, r.headers...), r.status, r.code, r.fields...)
						require.Equal(t, before, w.state(t), "a refused request has written something")
					})
				}
			})
		}
	})
}

// ordering is a request of the buyer to place this order.
func (s *scene) ordering(name, body string, status int, code string, fields ...string) request {
	return request{name: name, from: s.buyer, method: "POST", path: "/api/v1/orders", body: body, status: status, code: code, fields: fields}
}

// line is an order of one line with the given JSON value as its quantity.
func (s *scene) line(quantity string) string {
	return fmt.Sprintf(`{"lines":[{"product_id":%q,"quantity":%s}]}`, s.lamp.ID, quantity)
}

func (s *scene) bodies() []request {
	const tooMuch = 1<<20 + 1
	good := s.line("1")
	list := []request{
		s.ordering("Truncated", good[:len(good)-2], 400, "json_malformed"),
		s.ordering("NoJSON", `lines=1`, 400, "json_malformed"),
		s.ordering("TwoValues", good+good, 400, "json_malformed"),
		s.ordering("SingleQuotes", strings.ReplaceAll(good, `"`, `'`), 400, "json_malformed"),
		s.ordering("TrailingComma", strings.Replace(good, "]", ",]", 1), 400, "json_malformed"),
		s.ordering("MemberTwice", strings.Replace(good, `"quantity":1`, `"quantity":1,"quantity":2`, 1), 400, "json_malformed"),
		s.ordering("Deep", `{"lines":`+strings.Repeat("[", 10000), 400, "json_malformed"),
		s.ordering("Null", `null`, 400, "invalid"),
		s.ordering("Array", `[]`, 400, "invalid"),
		s.ordering("None", "", 400, "body_missing"),
		s.ordering("UnknownField", strings.Replace(good, "{", `{"total":1,`, 1), 400, "invalid", "/total unknown_field"),
		s.ordering("UnknownInnerField", strings.Replace(good, `"quantity"`, `"unit_price":{"minor_units":1,"currency":"EUR"},"quantity"`, 1), 400, "invalid", "/lines/0/unit_price unknown_field"),
		s.ordering("OtherCase", strings.Replace(good, `"quantity"`, `"Quantity"`, 1), 400, "invalid"),
		s.ordering("MissingField", fmt.Sprintf(`{"lines":[{"product_id":%q}]}`, s.lamp.ID), 400, "invalid", "/lines/0/quantity required"),
		s.ordering("Oversize", strings.Repeat(" ", tooMuch-len(good))+good, 413, "body_too_large"),
		{name: "OversizeKey", from: s.w.admin, method: "POST", path: "/api/v1/products", body: `{"sku":"` + strings.Repeat("A", tooMuch) + `"}`, status: 413, code: "body_too_large"},
		{name: "NotWanted", from: s.w.admin, method: "POST", path: "/api/v1/orders/" + s.order.ID.String() + "/deliver", body: `{}`, status: 400, code: "body_not_allowed"},
	}
	for name, headers := range map[string][]string{
		"NoType": {"Content-Type", ""}, "Form": {"Content-Type", "application/x-www-form-urlencoded"}, "XML": {"Content-Type", "application/xml"},
		"Latin1": {"Content-Type", "application/json; charset=iso-8859-1"},
	} {
		r := s.ordering(name, good, 415, "media_type_unsupported")
		r.headers = headers
		list = append(list, r)
	}
	zipped := s.ordering("Zipped", good, 415, "content_encoding_unsupported")
	zipped.headers = []string{"Content-Encoding", "gzip"}
	chunked := s.ordering("OversizeInChunks", strings.Repeat(" ", tooMuch-len(good))+good, 413, "body_too_large")
	chunked.headers = []string{"Transfer-Encoding", "chunked"}
	return append(list, zipped, chunked)
}

func (s *scene) quantities() []request {
	const at = "/lines/0/quantity "
	return []request{
		s.ordering("Negative", s.line("-1"), 422, "unprocessable", at+"too_small"),
		s.ordering("Zero", s.line("0"), 422, "unprocessable", at+"too_small"),
		s.ordering("TooMany", s.line("10001"), 422, "unprocessable", at+"too_large"),
		s.ordering("MostNegative", s.line("-9223372036854775808"), 422, "unprocessable", at+"too_small"),
		s.ordering("MostPositive", s.line("9223372036854775807"), 422, "unprocessable", at+"too_large"),
		s.ordering("Overflowing", s.line("9223372036854775808"), 400, "invalid", at+"type"),
		s.ordering("Huge", s.line("1e400"), 400, "invalid", at+"type"),
		s.ordering("Fraction", s.line("1.5"), 400, "invalid", at+"type"),
		s.ordering("Exponent", s.line("1e0"), 400, "invalid", at+"type"),
		s.ordering("Text", s.line(`"1"`), 400, "invalid", at+"type"),
		s.ordering("Boolean", s.line("true"), 400, "invalid", at+"type"),
		s.ordering("Null", s.line("null"), 400, "invalid", at+"type"),
		s.ordering("NoLines", `{"lines":[]}`, 422, "unprocessable", "/lines too_few"),
		s.ordering("TooManyLines", `{"lines":[`+strings.Repeat(`{},`, 100)+`{}]}`, 422, "unprocessable", "/lines too_many"),
		s.ordering("LinesAreNone", `{"lines":{}}`, 400, "invalid", "/lines type"),
		s.ordering("MoreThanThereIs", s.line("100"), 409, "out_of_stock", at+"out_of_stock"),
		s.ordering("ProductTwice", fmt.Sprintf(`{"lines":[{"product_id":%[1]q,"quantity":1},{"product_id":%[1]q,"quantity":1}]}`, s.lamp.ID), 422, "duplicate_product", "/lines/1/product_id duplicate_product"),
		s.ordering("TotalOverflows", fmt.Sprintf(`{"lines":[{"product_id":%q,"quantity":2}]}`, s.gold.ID), 422, "amount_overflow", at+"amount_overflow"),
		s.ordering("MixedCurrencies", fmt.Sprintf(`{"lines":[{"product_id":%q,"quantity":1},{"product_id":%q,"quantity":1}]}`, s.lamp.ID, s.dollar.ID), 422, "mixed_currencies", "/lines/1/product_id mixed_currencies"),
	}
}

func (s *scene) amounts() (list []request) {
	topUp := func(name, amount string, status int, code string, fields ...string) {
		list = append(list, request{
			name: "TopUp" + name, from: s.w.admin, method: "POST", path: "/api/v1/users/" + s.buyer.id.String() + "/credit/top-ups",
			body: `{"amount":` + amount + `}`, status: status, code: code, fields: fields,
		})
	}
	topUp("Negative", `{"minor_units":-1,"currency":"EUR"}`, 422, "unprocessable", "/amount/minor_units too_small")
	topUp("Nothing", `{"minor_units":0,"currency":"EUR"}`, 422, "unprocessable", "/amount/minor_units too_small")
	topUp("TooMuch", `{"minor_units":1000000000001,"currency":"EUR"}`, 422, "unprocessable", "/amount/minor_units too_large")
	topUp("Overflowing", `{"minor_units":9223372036854775808,"currency":"EUR"}`, 400, "invalid", "/amount/minor_units type")
	topUp("Fraction", `{"minor_units":0.5,"currency":"EUR"}`, 400, "invalid", "/amount/minor_units type")
	topUp("BeyondTheAccount", `{"minor_units":1000000000000,"currency":"EUR"}`, 422, "credit_limit")
	topUp("OtherCurrency", `{"minor_units":1,"currency":"USD"}`, 422, "currency_mismatch")
	topUp("NoCurrency", `{"minor_units":1}`, 400, "invalid", "/amount/currency required")
	topUp("LowerCase", `{"minor_units":1,"currency":"eur"}`, 422, "unprocessable", "/amount/currency pattern")
	topUp("Number", `1`, 400, "invalid", "/amount type")
	stock := func(name, delta string, status int, code string, fields ...string) {
		list = append(list, request{
			name: "Stock" + name, from: s.w.admin, method: "POST", path: "/api/v1/products/" + s.lamp.ID.String() + "/stock",
			body: `{"delta":` + delta + `}`, status: status, code: code, fields: fields,
		})
	}
	stock("Nothing", "0", 422, "delta_zero", "/delta delta_zero")
	stock("BelowZero", "-100", 409, "out_of_stock")
	stock("TooMuch", "1000001", 422, "unprocessable", "/delta too_large")
	stock("Overflowing", "-9223372036854775809", 400, "invalid", "/delta type")
	product := func(name, price, stock string, status int, code string, fields ...string) {
		list = append(list, request{
			name: "Product" + name, from: s.w.admin, method: "POST", path: "/api/v1/products",
			body:   fmt.Sprintf(`{"sku":"NEW","name":"new","price":{"minor_units":%s,"currency":"EUR"},"stock":%s}`, price, stock),
			status: status, code: code, fields: fields,
		})
	}
	product("NegativePrice", "-1", "1", 422, "unprocessable", "/price/minor_units too_small")
	product("NegativeStock", "1", "-1", 422, "unprocessable", "/stock too_small")
	product("TooMuchStock", "1", "1000000001", 422, "unprocessable", "/stock too_large")
	return list
}

// texts are those that a database or a reader would choke on.
func (s *scene) texts() (list []request) {
	for name, text := range map[string]string{
		"InvalidUTF8": "a\xffb", "Overlong": "a\xc0\xafb", "Surrogate": "a\xed\xa0\x80b", "LoneSurrogate": `a\ud800b`,
		"NUL": "a\x00b", "EscapedNUL": `a\u0000b`, "LineBreak": "a\nb",
	} {
		list = append(list, request{
			name: name, from: s.w.admin, method: "POST", path: "/api/v1/products",
			body:   `{"sku":"NEW","name":"` + text + `","price":{"minor_units":1,"currency":"EUR"},"stock":1}`,
			status: 400, code: "json_malformed",
		})
	}
	named := func(name, text string, status int, code string, fields ...string) {
		list = append(list, request{
			name: name, from: s.unknown, method: "POST", path: "/api/v1/users", status: status, code: code, fields: fields,
			body: `{"email":"new@example.com","password":"` + password + `","display_name":"` + text + `"}`,
		})
	}
	named("Empty", "", 422, "unprocessable", "/display_name too_short", "/display_name pattern")
	named("Spaces", " Ada ", 422, "unprocessable", "/display_name pattern")
	named("Control", "Ada\u007f", 422, "unprocessable", "/display_name pattern")
	named("TooLong", strings.Repeat("ä", 101), 422, "unprocessable", "/display_name too_long")
	for name, email := range map[string]string{"NoAt": "example.com", "Space": "a b@example.com", "Header": `a@example.com\r\nBcc: b@example.com`} {
		list = append(list, request{
			name: "Email" + name, from: s.unknown, method: "POST", path: "/api/v1/users", status: 422, code: "unprocessable",
			body: `{"email":"` + email + `","password":"` + password + `","display_name":"Ada"}`,
		})
	}
	return append(list, request{
		name: "ShortPassword", from: s.unknown, method: "POST", path: "/api/v1/users", status: 422, code: "unprocessable", fields: []string{"/password too_short"},
		body: `{"email":"new@example.com","password":"secret","display_name":"Ada"}`,
	})
}

func (s *scene) parameters() []request {
	read := func(name, path, code string, fields ...string) request {
		return request{name: name, from: s.buyer, method: "GET", path: "/api/v1" + path, status: 400, code: code, fields: fields}
	}
	keyed := func(name, key string) request {
		r := s.ordering("Key"+name, s.line("1"), 400, "idempotency_key_malformed", "Idempotency-Key pattern")
		r.headers = []string{"Idempotency-Key", key}
		return r
	}
	return []request{
		read("NoLimit", "/products?limit=0", "invalid", "limit too_small"),
		read("TooHighLimit", "/products?limit=101", "invalid", "limit too_large"),
		read("TextLimit", "/products?limit=ten", "invalid", "limit type"),
		read("LimitTwice", "/products?limit=1&limit=2", "invalid", "limit repeated"),
		read("UnknownParameter", "/products?colour=red", "invalid", "colour unknown_parameter"),
		read("InvalidUTF8", "/products?q=%ff", "invalid", "q encoding"),
		read("NUL", "/products?q=a%00b", "invalid", "q encoding"),
		read("TooLong", "/products?q="+strings.Repeat("a", 101), "invalid", "q too_long"),
		read("Status", "/orders?status=lost", "invalid", "status not_allowed"),
		read("Boolean", "/products?active=yes", "invalid", "active type"),
		read("NoUUID", "/orders/7", "invalid"),
		read("NULInPath", "/orders/"+url.PathEscape(s.order.ID.String()[:35]+"\x00"), "invalid"),
		read("BracedUUID", "/orders/"+url.PathEscape("{"+s.order.ID.String()+"}"), "invalid"),
		keyed("Long", strings.Repeat("k", 256)),
		keyed("Umlaut", "schlüssel"),
	}
}

func (s *scene) unknowns() []request {
	nobody := uuid.NewString()
	ask := func(name string, from *caller, method, path, body string, status int, code string) request {
		return request{name: name, from: from, method: method, path: path, body: body, status: status, code: code}
	}
	return []request{
		ask("Order", s.buyer, "GET", "/api/v1/orders/"+nobody, "", 404, "order_not_found"),
		ask("Cancel", s.buyer, "POST", "/api/v1/orders/"+nobody+"/cancel", "", 404, "order_not_found"),
		ask("Ship", s.w.admin, "POST", "/api/v1/orders/"+nobody+"/ship", "", 404, "order_not_found"),
		ask("Product", s.buyer, "GET", "/api/v1/products/"+nobody, "", 404, "product_not_found"),
		ask("ProductOffSale", s.buyer, "GET", "/api/v1/products/"+s.off.ID.String(), "", 404, "product_not_found"),
		ask("Stock", s.w.admin, "POST", "/api/v1/products/"+nobody+"/stock", `{"delta":1}`, 404, "product_not_found"),
		ask("User", s.w.admin, "GET", "/api/v1/users/"+nobody, "", 404, "user_not_found"),
		ask("Credit", s.w.admin, "GET", "/api/v1/users/"+nobody+"/credit", "", 404, "user_not_found"),
		ask("TopUp", s.w.admin, "POST", "/api/v1/users/"+nobody+"/credit/top-ups", `{"amount":{"minor_units":1,"currency":"EUR"}}`, 404, "user_not_found"),
		ask("Disable", s.w.admin, "POST", "/api/v1/users/"+nobody+"/disable", "", 404, "user_not_found"),
		ask("Notification", s.buyer, "POST", "/api/v1/notifications/"+nobody+"/read", "", 404, "notification_not_found"),
		ask("Path", s.buyer, "GET", "/api/v1/invoices", "", 404, "no_such_resource"),
		ask("Method", s.buyer, "DELETE", "/api/v1/orders/"+s.order.ID.String(), "", 405, "method_not_allowed"),
		s.ordering("OrderedProduct", fmt.Sprintf(`{"lines":[{"product_id":%q,"quantity":1}]}`, nobody), 422, "product_unknown", "/lines/0/product_id product_unknown"),
		s.ordering("OrderedProductOffSale", fmt.Sprintf(`{"lines":[{"product_id":%q,"quantity":1}]}`, s.off.ID), 422, "product_inactive", "/lines/0/product_id product_inactive"),
	}
}
