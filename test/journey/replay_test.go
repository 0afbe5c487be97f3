package journey_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	noterest "cleave/modules/notification/v1/rest"
	orderrest "cleave/modules/order/v1/rest"
)

// TestReplay sends every kind of POST again.
func TestReplay(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		buyer := w.customer(t, 100000)
		lamp := w.newProduct(t, 1000, 100)
		confirmed := func() string {
			return buyer.reaches(t, buyer.place(t, 1, lamp).ID, orderrest.OrderStatusConfirmed).ID.String()
		}
		toCancel, toShip, toDeliver := confirmed(), confirmed(), confirmed()
		w.admin.ship(t, uuid.MustParse(toDeliver))
		victim := w.customer(t, 0)
		note := buyer.told(t, noterest.NotificationKindRegistered, nil)
		for _, p := range []struct {
			name       string
			from       *caller
			path, body string
			status     int
			other      string // another body, for the same key
		}{
			{"Register", newCaller(t, w.server.url), "/users", `{"email":"replay@example.com","password":"` + password + `","display_name":"Ada"}`, 201, `{"email":"replay2@example.com","password":"` + password + `","display_name":"Ada"}`},
			{"LogIn", newCaller(t, w.server.url), "/sessions", fmt.Sprintf(`{"email":%q,"password":%q}`, buyer.email, password), 201, fmt.Sprintf(`{"email":%q,"password":%q}`, victim.email, password)},
			{"TopUp", w.admin, "/users/" + buyer.id.String() + "/credit/top-ups", `{"amount":{"minor_units":5,"currency":"EUR"}}`, 201, `{"amount":{"minor_units":6,"currency":"EUR"}}`},
			{"Product", w.admin, "/products", `{"sku":"REPLAY","name":"new","price":{"minor_units":1,"currency":"EUR"},"stock":0}`, 201, `{"sku":"REPLAY","name":"new","price":{"minor_units":2,"currency":"EUR"},"stock":0}`},
			{"Order", buyer, "/orders", fmt.Sprintf(`{"lines":[{"product_id":%q,"quantity":3}]}`, lamp.ID), 201, fmt.Sprintf(`{"lines":[{"product_id":%q,"quantity":4}]}`, lamp.ID)},
			{"Cancel", buyer, "/orders/" + toCancel + "/cancel", `{"reason":"no"}`, 200, `{"reason":"never mind"}`},
			{"Ship", w.admin, "/orders/" + toShip + "/ship", `{"tracking_code":"A"}`, 200, `{"tracking_code":"B"}`},
			{"Deliver", w.admin, "/orders/" + toDeliver + "/deliver", "", 200, ""},
			{"Disable", w.admin, "/users/" + victim.id.String() + "/disable", "", 200, ""},
			{"MarkRead", buyer, "/notifications/" + note.ID.String() + "/read", "", 200, ""},
		} {
			t.Run(p.name, func(t *testing.T) {
				key := "key of " + p.name
				first := p.from.send(t, "POST", "/api/v1"+p.path, p.body, "Idempotency-Key", key)
				require.Equal(t, p.status, first.status, "%s", first.body)
				require.Empty(t, first.header.Get("Idempotency-Replayed"))
				w.balanced(t)
				before := w.state(t)
				for range 2 {
					again := p.from.send(t, "POST", "/api/v1"+p.path, p.body, "Idempotency-Key", key)
					require.Equal(t, "true", again.header.Get("Idempotency-Replayed"))
					require.Equal(t, first.status, again.status)
					require.Equal(t, string(first.body), string(again.body))
					for _, h := range []string{"Content-Type", "ETag", "Location"} {
						require.Equal(t, first.header.Get(h), again.header.Get(h))
					}
				}
				if p.other != "" {
					refused(t, p.from.send(t, "POST", "/api/v1"+p.path, p.other, "Idempotency-Key", key), 422, "idempotency_key_reused")
				}
				require.Equal(t, before, w.state(t), "a repeated request has had an effect")
			})
		}
		t.Run("AtOnce", func(t *testing.T) { atOnce(t, w, lamp) })
		t.Run("KeysAreTheCallers", func(t *testing.T) {
			body := fmt.Sprintf(`{"lines":[{"product_id":%q,"quantity":2}]}`, lamp.ID)
			r := w.customer(t, 5000).send(t, "POST", "/api/v1/orders", body, "Idempotency-Key", "key of Order")
			require.Equal(t, 201, r.status, "%s", r.body)
			require.Empty(t, r.header.Get("Idempotency-Replayed"))
		})
		t.Run("RefusalsAreNotKept", func(t *testing.T) {
			poor := w.customer(t, 2000)
			rare := w.newProduct(t, 1000, 0)
			body := fmt.Sprintf(`{"lines":[{"product_id":%q,"quantity":2}]}`, rare.ID)
			refused(t, poor.send(t, "POST", "/api/v1/orders", body, "Idempotency-Key", "again"), 409, "out_of_stock")
			r, err := w.admin.orders.AdjustStockWithResponse(t.Context(), rare.ID, nil, orderrest.AdjustStock{Delta: 2})
			require.NoError(t, err)
			require.Equal(t, int64(2), value(t, r.JSON200, r).Stock)
			w.stock[rare.ID] += 2
			require.Equal(t, 201, poor.send(t, "POST", "/api/v1/orders", body, "Idempotency-Key", "again").status)
		})
	})
}

// atOnce places one order many times at once: there is one order, and nobody
// is told of another.
func atOnce(t *testing.T, w *world, lamp orderrest.Product) {
	buyer := w.customer(t, 100000)
	params := &orderrest.PlaceOrderParams{IdempotencyKey: newKey()}
	var wg sync.WaitGroup
	var mu sync.Mutex
	answers := map[uuid.UUID]int{}
	for range 20 {
		wg.Go(func() {
			r, err := buyer.orders.PlaceOrderWithResponse(t.Context(), params, wanted(1, lamp))
			if err != nil {
				t.Error(err)
				return
			}
			if r.StatusCode() == http.StatusConflict && r.ApplicationProblemJSON409.Code == "idempotency_key_in_flight" {
				return
			}
			if r.JSON201 == nil {
				t.Errorf("neither placed nor under way: %s", r.Body)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			answers[r.JSON201.ID]++
		})
	}
	wg.Wait()
	require.Len(t, answers, 1)
	r, err := buyer.orders.ListOrdersWithResponse(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, value(t, r.JSON200, r).Items, 1)
}

// TestIfMatch changes what someone else has changed meanwhile.
func TestIfMatch(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		user := w.customer(t, 0)
		lamp := w.newProduct(t, 1000, 10)
		preferences := `{"preferences":[{"kind":"shipped","channel":"email","enabled":false}]}`
		for _, p := range []struct {
			name               string
			from               *caller
			method, path, body string
			code               string // when it is stale
		}{
			{"Profile", user, "PATCH", "/api/v1/me", `{"display_name":"Ada King"}`, "stale"},
			{"Product", w.admin, "PATCH", "/api/v1/products/" + lamp.ID.String(), `{"price":{"minor_units":900,"currency":"EUR"}}`, "version_mismatch"},
			{"Preferences", user, "PUT", "/api/v1/notification-preferences", preferences, "version_stale"},
		} {
			t.Run(p.name, func(t *testing.T) {
				path := p.path
				current := p.from.send(t, "GET", path, "").header.Get("ETag")
				require.Regexp(t, `^"\d+"$`, current)
				refused(t, p.from.send(t, p.method, path, p.body), 428, "if_match_missing")
				for _, malformed := range []string{"1", `W/"1"`, "*", `"1", "2"`, `"01"`, `"-1"`, `"9223372036854775808"`} {
					refused(t, p.from.send(t, p.method, path, p.body, "If-Match", malformed), 400, "if_match_malformed")
				}
				refused(t, p.from.send(t, p.method, path, p.body, "If-Match", `"9007"`), 412, p.code)
				require.Equal(t, current, p.from.send(t, "GET", path, "").header.Get("ETag"), "a refused change has changed something")

				changed := p.from.send(t, p.method, path, p.body, "If-Match", current)
				require.Equal(t, 200, changed.status, "%s", changed.body)
				require.NotEqual(t, current, changed.header.Get("ETag"))
				refused(t, p.from.send(t, p.method, path, p.body, "If-Match", current), 412, p.code)
				require.Equal(t, changed.header.Get("ETag"), p.from.send(t, "GET", path, "").header.Get("ETag"))
			})
		}
		t.Run("Rivals", func(t *testing.T) {
			rivals(t, w, lamp)
		})
		t.Run("OrdersKeepTheirPrice", func(t *testing.T) {
			buyer := w.customer(t, 10000)
			o := buyer.place(t, 1, lamp)
			product := w.admin.product(t, lamp.ID)
			r, err := w.admin.orders.UpdateProductWithResponse(t.Context(), lamp.ID, &orderrest.UpdateProductParams{IfMatch: fmt.Sprintf("%q", fmt.Sprint(product.Version))},
				orderrest.UpdateProduct{Price: &orderrest.Money{MinorUnits: 1, Currency: "EUR"}})
			require.NoError(t, err)
			value(t, r.JSON200, r)
			require.Equal(t, o.Total, buyer.reaches(t, o.ID, orderrest.OrderStatusConfirmed).Total)
		})
	})
}

// rivals change the same version: one of them succeeds.
func rivals(t *testing.T, w *world, lamp orderrest.Product) {
	version := fmt.Sprintf("%q", fmt.Sprint(w.admin.product(t, lamp.ID).Version))
	var wg sync.WaitGroup
	var mu sync.Mutex
	statuses := map[int]int{}
	for i := range 10 {
		wg.Go(func() {
			r, err := w.admin.orders.UpdateProductWithResponse(t.Context(), lamp.ID, &orderrest.UpdateProductParams{IfMatch: version},
				orderrest.UpdateProduct{Name: ptr(fmt.Sprint("Lamp ", i))})
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			statuses[r.StatusCode()]++
		})
	}
	wg.Wait()
	require.Equal(t, map[int]int{http.StatusOK: 1, http.StatusPreconditionFailed: 9}, statuses)
}
