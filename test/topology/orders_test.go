package topology_test

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
)

func (s *script) product(sku, name string, minor int, currency string, stock int) string {
	a := s.do(s.admin, http.MethodPost, "/api/v1/products",
		fmt.Sprintf(`{"sku":%q,"name":%q,"price":{"minor_units":%d,"currency":%q},"stock":%d}`, sku, name, minor, currency, stock), "Idempotency-Key", "product-"+sku)
	return a.json(s.t, "id")
}

func (s *script) topUp(u *user, minor int) {
	s.do(s.admin, http.MethodPost, "/api/v1/users/"+u.id+"/credit/top-ups",
		fmt.Sprintf(`{"amount":{"minor_units":%d,"currency":"EUR"},"note":"opening credit"}`, minor), "Idempotency-Key", "top-up-"+u.email)
}

func lines(product string, quantity int) string {
	return fmt.Sprintf(`{"lines":[{"product_id":%q,"quantity":%d}]}`, product, quantity)
}

func (s *script) place(u *user, product string, quantity int) (id string) {
	return s.do(u, http.MethodPost, "/api/v1/orders", lines(product, quantity)).json(s.t, "id")
}

// becomes waits until the order has the status and the buyer was told about it.
func (s *script) becomes(u *user, id, status string) {
	s.until(u, "/api/v1/orders/"+id, has(`"status":"`+status+`"`))
	if u == s.admin {
		return
	}
	s.until(u, "/api/v1/notifications?limit=1", func(a answer) bool { return has(id)(a) && has(`"`+status+`"`)(a) })
}

// catalogue makes products and changes them.
func (s *script) catalogue() {
	s.lamp, s.desk = s.product("LAMP", "Desk lamp", 1299, "EUR", 100), s.product("DESK", "Größter Tisch", 9900, "EUR", 3)
	s.dollar = s.product("PEN", "Pen", 100, "USD", 10)
	s.do(s.admin, http.MethodPost, "/api/v1/products", `{"sku":"LAMP","name":"again","price":{"minor_units":1,"currency":"EUR"},"stock":1}`)
	s.do(s.admin, http.MethodPatch, "/api/v1/products/"+s.desk, `{"price":{"minor_units":10000,"currency":"EUR"}}`, "If-Match", `"1"`)
	s.do(s.admin, http.MethodPatch, "/api/v1/products/"+s.desk, `{"price":{"minor_units":9000,"currency":"EUR"}}`, "If-Match", `"1"`)
	s.do(s.admin, http.MethodPost, "/api/v1/products/"+s.desk+"/stock", `{"delta":-1}`)
	s.do(s.admin, http.MethodPost, "/api/v1/products/"+s.desk+"/stock", `{"delta":-100}`)
	for _, q := range []string{"", "?q=gr%C3%B6%C3%9Fter", "?q=desk+lamp", "?q=desk%20lamp", "?q=100%25", "?q=%ff", "?q=a%00b", "?q=a%26b%3Dc", "?q=a;b", "?limit=1&limit=2", "?limit=0", "?limit=ten", "?colour=red", "?active=false", "?q=" + strings.Repeat("a", 101)} {
		s.do(s.buyer, http.MethodGet, "/api/v1/products"+q, "")
	}
	s.do(s.buyer, http.MethodGet, "/api/v1/products/"+s.lamp, "")
	s.do(s.buyer, http.MethodHead, "/api/v1/products/"+s.lamp, "")
	s.do(s.buyer, http.MethodGet, "/api/v1/products/7", "")
	s.do(s.buyer, http.MethodGet, "/api/v1/products/%7B"+s.lamp+"%7D", "")
	s.do(s.buyer, http.MethodGet, "/api/v1/products/00000000-0000-4000-8000-000000000000", "")
}

// badRequests are refused by what reads them.
func (s *script) badRequests() {
	good, tooMuch := lines(s.lamp, 1), 65537
	for _, body := range []string{
		"", "null", "[]", "lines=1", good[:len(good)-2], good + good, strings.ReplaceAll(good, `"`, `'`), `{"lines":` + strings.Repeat("[", 2000),
		strings.Replace(good, "{", `{"total":1,`, 1), `{"lines":[]}`, lines(s.lamp, 0), lines(s.lamp, 10001), strings.Replace(good, ":1}", ":1.5}", 1),
		strings.Replace(good, "LAMP", "a\xffb", 1) + "\xff", `{"lines":[` + strings.Repeat(`{},`, 100) + `{}]}`, lines("00000000-0000-4000-8000-000000000000", 1),
		fmt.Sprintf(`{"lines":[{"product_id":%[1]q,"quantity":1},{"product_id":%[1]q,"quantity":1}]}`, s.lamp),
		fmt.Sprintf(`{"lines":[{"product_id":%q,"quantity":1},{"product_id":%q,"quantity":1}]}`, s.lamp, s.dollar),
		strings.Repeat(" ", tooMuch-len(good)) + good,
	} {
		s.refused(s.do(s.buyer, http.MethodPost, "/api/v1/orders", body))
	}
	s.refused(s.do(s.buyer, http.MethodPost, "/api/v1/orders", strings.Repeat(" ", tooMuch-len(good))+good, "Chunked", "1"))
	s.refused(s.do(s.buyer, http.MethodPost, "/api/v1/orders", strings.Repeat(" ", tooMuch), "Idempotency-Key", "too-much"))
	for _, headers := range [][]string{
		{"Content-Type", ""},
		{"Content-Type", "text/plain"},
		{"Content-Type", "application/json; charset=iso-8859-1"},
		{"Content-Encoding", "gzip"},
		{"Idempotency-Key", strings.Repeat("k", 256)},
		{"Idempotency-Key", "schl\xfcssel"},
		{"Idempotency-Key", "a", "Idempotency-Key", "b"},
	} {
		s.refused(s.do(s.buyer, http.MethodPost, "/api/v1/orders", good, headers...))
	}
	s.do(s.admin, http.MethodPost, "/api/v1/orders/00000000-0000-4000-8000-000000000000/deliver", "{}")
	s.do(s.admin, http.MethodPut, "/api/v1/notification-preferences", `{"preferences":[{"kind":"lost","channel":"email","enabled":1}]}`, "If-Match", `"0"`)
}

// refused requires that nothing was done, which could be at odds with what comes next.
func (s *script) refused(a answer) {
	s.t.Helper()
	require.GreaterOrEqual(s.t, a.status, 400, a.body)
}

// orders takes some to each of their ends.
func (s *script) orders() {
	s.topUp(s.buyer, 100000)
	o := s.do(s.buyer, http.MethodPost, "/api/v1/orders", lines(s.lamp, 2), "Chunked", "1").json(s.t, "id")
	s.becomes(s.buyer, o, "confirmed")
	s.do(s.buyer, http.MethodGet, "/api/v1/users/"+s.buyer.id+"/credit", "")
	s.do(s.admin, http.MethodPost, "/api/v1/orders/"+o+"/deliver", "")
	s.do(s.admin, http.MethodPost, "/api/v1/orders/"+o+"/ship", `{"tracking_code":"JD014600003948"}`)
	s.becomes(s.buyer, o, "shipped")
	s.do(s.buyer, http.MethodPost, "/api/v1/orders/"+o+"/cancel", `{"reason":"too late"}`)
	s.do(s.admin, http.MethodPost, "/api/v1/orders/"+o+"/deliver", "")
	s.until(s.buyer, "/api/v1/users/"+s.buyer.id+"/credit", has(`"captured":2598`))

	poor := s.place(s.other, s.lamp, 1) // without any credit
	s.becomes(s.other, poor, "rejected")
	s.topUp(s.other, 50000)
	s.becomes(s.other, s.place(s.other, s.dollar, 1), "rejected")
	o = s.place(s.buyer, s.desk, 2)
	s.becomes(s.buyer, o, "confirmed")
	s.do(s.other, http.MethodPost, "/api/v1/orders", lines(s.desk, 1))
	s.do(s.buyer, http.MethodPost, "/api/v1/orders/"+o+"/cancel", `{"reason":"größer gedacht"}`)
	s.becomes(s.buyer, o, "cancelled")
	s.until(s.buyer, "/api/v1/users/"+s.buyer.id+"/credit", has(`"reserved":0`))
	s.do(s.admin, http.MethodGet, "/api/v1/orders/"+o, "")
}

// rights asks for what is not the caller's.
func (s *script) rights() {
	o := s.place(s.buyer, s.lamp, 1)
	s.becomes(s.buyer, o, "confirmed")
	for _, r := range [][]string{
		{"GET", "/api/v1/orders/" + o},
		{"POST", "/api/v1/orders/" + o + "/cancel", `{"reason":"not mine"}`},
		{"POST", "/api/v1/orders/" + o + "/ship"},
		{"GET", "/api/v1/orders?user_id=" + s.buyer.id},
		{"GET", "/api/v1/users/" + s.buyer.id},
		{"GET", "/api/v1/users/" + s.buyer.id + "/credit"},
		{"GET", "/api/v1/users"},
		{"POST", "/api/v1/products", `{}`},
		{"GET", "/api/v1/admin/modules/order/sagas"},
		{"GET", "/api/v1/admin/modules/invoices/sagas"},
	} {
		for _, who := range []*user{s.other, nil, {token: s.other.token[:len(s.other.token)-8] + "AAAAAAAA"}} {
			s.do(who, r[0], r[1], strings.Join(r[2:], ""))
		}
	}
}

// sagas are turned round: by their time limit while the user module cannot write, and by their buyer's end.
func (s *script) sagas() {
	release := s.site.hold(s.t, "user", "accounts")
	late := s.place(s.other, s.lamp, 1)
	saga := "/api/v1/admin/modules/order/sagas/place_order/" + late
	require.True(s.t, happens(func() bool { return strings.Contains(s.ask(s.admin, http.MethodGet, saga, "").body, `"compensating"`) }), "the time limit does not pass")
	time.Sleep(time.Second) // what was given up at its deadline may still wait for the table; nothing shows when it does no longer
	release()
	s.becomes(s.other, late, "rejected")
	require.True(s.t, happens(func() bool {
		return strings.Contains(s.ask(s.admin, http.MethodGet, saga, "").body, `"compensated"`)
	}), "the saga of the late order does not end")

	gone := s.register("gone@example.com", "Gone Soon")
	// Otherwise it would be a matter of chance which of two modules' events gets the lower number.
	muted := s.do(gone, http.MethodGet, "/api/v1/notification-preferences", "")
	muted = s.do(gone, http.MethodPut, "/api/v1/notification-preferences", `{"preferences":[{"kind":"disabled","channel":"in_app","enabled":false}]}`, "If-Match", muted.header.Get("ETag"))
	require.Equal(s.t, http.StatusOK, muted.status, muted.body)
	s.topUp(gone, 5000)
	o := s.place(gone, s.lamp, 1)
	s.becomes(gone, o, "confirmed")
	s.do(s.admin, http.MethodPost, "/api/v1/users/"+gone.id+"/disable", "")
	s.becomes(s.admin, o, "cancelled")
	s.until(gone, "/api/v1/orders", func(a answer) bool { return a.status == http.StatusUnauthorized })
	s.until(gone, "/api/v1/notifications", func(a answer) bool { return a.status == http.StatusUnauthorized })
	s.until(gone, "/api/v1/me", func(a answer) bool { return a.status == http.StatusUnauthorized })
	s.do(nil, http.MethodPost, "/api/v1/sessions", fmt.Sprintf(`{"email":%q,"password":%q}`, gone.email, password))
	s.until(s.admin, "/api/v1/users/"+gone.id+"/credit", has(`"reserved":0`))
	s.do(s.admin, http.MethodPost, "/api/v1/users/"+gone.id+"/enable", "")
	s.logIn(gone.email)
}

// idempotency repeats requests, the same way, another way, and while the first is under way.
func (s *script) idempotency() {
	for range 2 {
		a := s.do(s.buyer, http.MethodPost, "/api/v1/orders", lines(s.lamp, 1), "Idempotency-Key", "once")
		s.becomes(s.buyer, a.json(s.t, "id"), "confirmed")
	}
	s.do(s.buyer, http.MethodPost, "/api/v1/orders", lines(s.lamp, 2), "Idempotency-Key", "once")
	s.becomes(s.other, s.do(s.other, http.MethodPost, "/api/v1/orders", lines(s.lamp, 3), "Idempotency-Key", "once").json(s.t, "id"), "confirmed")
	for range 2 {
		s.do(s.buyer, http.MethodPost, "/api/v1/orders", lines(s.desk, 1000), "Idempotency-Key", "refused")
	}
	release := s.site.hold(s.t, "order", "products")
	answers := make(chan answer, 2)
	for range 2 {
		go func() {
			a, err := s.door.send(http.MethodPost, "/api/v1/products/"+s.lamp+"/stock", s.admin.token, `{"delta":5}`, "Idempotency-Key", "under-way")
			if err != nil {
				a.body = err.Error()
			}
			answers <- a
		}()
	}
	s.note("the second of two that meet", <-answers)
	release()
	s.note("the first of two that meet", <-answers)
}
