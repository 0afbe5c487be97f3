package security_test

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cleave/platform/config"
	"cleave/platform/module"
	"cleave/platform/moduletest"
)

// TestAPIKeys goes the way of a program: it trades its key for access tokens, which do what the scopes say until the key ends.
func TestAPIKeys(t *testing.T) {
	t.Parallel()
	moduletest.Each(t, specs, func(t *testing.T, cfg *config.Config) {
		t.Parallel()
		cfg.HTTP.RequestTimeout = time.Minute
		var behind atomic.Int64
		now := func() time.Time { return time.Now().Add(-time.Duration(behind.Load())) }
		h, err := module.NewHost(cfg, module.Options{Version: "test", Exact: true, Now: now}, specs...)
		require.NoError(t, err)
		require.NoError(t, h.Start(t.Context()))
		t.Cleanup(func() { require.NoError(t, h.Stop(context.Background())) })
		s := &site{url: h.URL(), cfg: cfg, host: h, names: new(atomic.Int64)}
		root, me := s.admin(t), s.customer(t)

		create := func(t *testing.T, p person, days int, scopes ...string) (key, id string) {
			r := s.call(t, http.MethodPost, "/api/v1/me/api-keys", p.access, object{"name": "Report", "scopes": scopes, "expires_in_days": days, "password": password})
			require.Equal(t, http.StatusCreated, r.status, "%s", r.body)
			v := r.json(t)
			return v["api_key"].(string), v["key"].(object)["id"].(string)
		}
		trade := func(t *testing.T, key string) reply {
			return s.call(t, http.MethodPost, "/api/v1/tokens/api-key", "", object{"api_key": key})
		}
		token := func(t *testing.T, key string) string {
			r := trade(t, key)
			require.Equal(t, http.StatusOK, r.status, "%s", r.body)
			return r.json(t)["access_token"].(string)
		}

		t.Run("Scopes", func(t *testing.T) {
			lists, _ := create(t, me, 1, "order:list")
			order, _ := create(t, me, 1, "order")
			admins, _ := create(t, root, 1, "user:list")
			part := token(t, lists)
			none := object{"lines": []object{{"product_id": "0197a5c2-7b1e-7c3a-9d2f-3b8e5a6c1d20", "quantity": 1}}}
			for _, c := range []struct {
				name, token, method, path string
				body                      any
				status                    int
				code                      string
			}{
				{"Lists", part, "GET", "/api/v1/orders", nil, 200, ""},
				{"DoesNotPlace", part, "POST", "/api/v1/orders", none, 403, "permission_denied"},
				{"ReadsNoUsers", part, "GET", "/api/v1/users", nil, 403, "permission_denied"},
				{"ReadsNotItsUser", part, "GET", "/api/v1/me", nil, 403, "permission_denied"},
				{"ReadsNoNotifications", part, "GET", "/api/v1/notifications", nil, 403, "permission_denied"},
				{"MakesNoKeys", part, "POST", "/api/v1/me/api-keys", object{"name": "More", "scopes": []string{"order"}, "expires_in_days": 1, "password": password}, 403, "permission_denied"},
				{"AllOfAModule", token(t, order), "POST", "/api/v1/orders", none, 422, "product_unknown"},
				{"AddsNoRights", token(t, order), "POST", "/api/v1/products", object{"sku": "A", "name": "A", "price": object{"minor_units": 1, "currency": "EUR"}, "stock": 1}, 403, "permission_denied"},
				{"OfAnAdministrator", token(t, admins), "GET", "/api/v1/users", nil, 200, ""},
				{"OfAnAdministratorOnlyThat", token(t, admins), "POST", "/api/v1/users/" + me.id + "/disable", nil, 403, "permission_denied"},
				{"KeyIsNoToken", lists, "GET", "/api/v1/orders", nil, 401, "token_invalid"},
			} {
				t.Run(c.name, func(t *testing.T) {
					r := s.call(t, c.method, c.path, c.token, c.body)
					require.Equal(t, c.status, r.status, "%s", r.body)
					require.Equal(t, c.code, r.code())
				})
			}
		})
		t.Run("Expiry", func(t *testing.T) {
			defer behind.Store(0)
			const day = 24 * time.Hour
			behind.Store(int64(day - time.Minute))
			p := s.logIn(t, me.email)
			key, _ := create(t, p, 1, "order:list")
			behind.Store(int64(2 * time.Minute)) // a minute before the end of the key
			r := trade(t, key)
			require.Equal(t, http.StatusOK, r.status, "%s", r.body)
			require.LessOrEqual(t, r.json(t)["expires_in"], 180.0, "a token does not outlive its key")
			access := r.json(t)["access_token"].(string)
			require.Equal(t, http.StatusOK, s.call(t, http.MethodGet, "/api/v1/orders", access, nil).status)
			behind.Store(-int64(2 * time.Minute))
			require.Equal(t, "api_key_invalid", trade(t, key).code())
			require.Equal(t, "token_expired", s.call(t, http.MethodGet, "/api/v1/orders", access, nil).code())
		})
		t.Run("Revoked", func(t *testing.T) {
			key, id := create(t, me, 1, "order:list")
			other, _ := create(t, me, 1, "order:list")
			access := token(t, key)
			r := s.call(t, http.MethodDelete, "/api/v1/me/api-keys/"+id, me.access, nil)
			require.Equal(t, http.StatusNoContent, r.status, "%s", r.body)
			began := time.Now()
			require.Equal(t, "api_key_invalid", trade(t, key).code())
			refused(t, []*site{s}, person{access: access}, "/api/v1/orders")
			t.Logf("the tokens of the key were refused after %s", time.Since(began))
			require.Equal(t, http.StatusOK, s.call(t, http.MethodGet, "/api/v1/orders", token(t, other), nil).status)
		})
		t.Run("OfDisabled", func(t *testing.T) {
			p := s.customer(t)
			key, _ := create(t, p, 1, "order:list")
			access := token(t, key)
			require.Equal(t, http.StatusOK, s.call(t, http.MethodPost, "/api/v1/users/"+p.id+"/disable", root.access, nil).status)
			require.Equal(t, "user_disabled", trade(t, key).code())
			refused(t, []*site{s}, person{access: access}, "/api/v1/orders")
		})
	})
}
