package security_test

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cleave/platform/config"
	"cleave/platform/moduletest"
)

// TestSignOut ends tokens in each way there is: every module stops accepting them within a second.
func TestSignOut(t *testing.T) {
	t.Parallel()
	moduletest.Each(t, specs, func(t *testing.T, cfg *config.Config) {
		t.Parallel()
		cfg.HTTP.RequestTimeout = time.Minute // hashing passwords takes its time on a busy machine
		s := start(t, cfg)
		root := s.admin(t)
		sites := []*site{s}
		if cfg.DB.DSN != "" {
			sites = append(sites, s.replica(t))
		}
		disable := func(t *testing.T, p person) {
			r := s.call(t, http.MethodPost, "/api/v1/users/"+p.id+"/disable", root.access, nil)
			require.Equal(t, http.StatusOK, r.status, "%s", r.body)
		}

		// end is each way but the reuse, which needs no access token.
		for _, end := range []struct {
			name string
			do   func(t *testing.T, p person)
			back bool // whether the refresh token still gives access, to the rights of now
		}{
			{"LogOut", func(t *testing.T, p person) {
				require.Equal(t, http.StatusNoContent, s.call(t, http.MethodDelete, "/api/v1/sessions/current", p.access, nil).status)
			}, false},
			{"Disable", disable, false},
			{"PasswordChange", func(t *testing.T, p person) {
				r := s.call(t, http.MethodPost, "/api/v1/me/password", s.logIn(t, p.email).access, map[string]any{"current_password": password, "new_password": "a better horse"})
				require.Equal(t, http.StatusNoContent, r.status, "%s", r.body)
			}, false},
			{"ByAdministrator", func(t *testing.T, p person) {
				r := s.call(t, http.MethodPost, "/api/v1/users/"+p.id+"/sessions/end", root.access, nil)
				require.Equal(t, http.StatusNoContent, r.status, "%s", r.body)
			}, false},
			{"RoleChange", func(t *testing.T, p person) {
				r := s.setRoles(t, root.access, p.id, "support")
				require.Equal(t, http.StatusOK, r.status, "%s", r.body)
			}, true},
		} {
			t.Run(end.name, func(t *testing.T) {
				const n = 5
				var took []time.Duration
				for range n {
					p := s.customer(t)
					accepted(t, sites, p)
					end.do(t, p)
					began := time.Now()
					refused(t, sites, p)
					took = append(took, time.Since(began))
					r := s.call(t, http.MethodPost, "/api/v1/sessions/refresh", "", map[string]any{"refresh_token": p.refresh})
					if !end.back {
						require.GreaterOrEqual(t, r.status, 400, "%s", r.body)
						continue
					}
					require.Equal(t, http.StatusOK, r.status, "%s", r.body)
					p.access = r.json(t)["access_token"].(string)
					require.Equal(t, []any{"support"}, s.call(t, http.MethodGet, "/api/v1/me", p.access, nil).json(t)["roles"])
					accepted(t, sites, p)
				}
				slices.Sort(took)
				t.Logf("refused by every module of %d process(es): p50 %s, max of %d %s", len(sites), took[n/2], n, took[n-1])
			})
		}
		t.Run("OtherSessionsGoOn", func(t *testing.T) {
			p := s.customer(t)
			other := s.logIn(t, p.email)
			require.Equal(t, http.StatusNoContent, s.call(t, http.MethodDelete, "/api/v1/sessions/current", p.access, nil).status)
			refused(t, sites, p)
			accepted(t, sites, other)
		})
		t.Run("EnabledAgain", func(t *testing.T) {
			p := s.customer(t)
			disable(t, p)
			refused(t, sites, p)
			r := s.call(t, http.MethodPost, "/api/v1/users/"+p.id+"/enable", root.access, nil)
			require.Equal(t, http.StatusOK, r.status, "%s", r.body)
			accepted(t, sites, s.logIn(t, p.email))
			refused(t, sites, p)
		})
		t.Run("Reuse", func(t *testing.T) {
			p := s.customer(t)
			renew := func() reply {
				return s.call(t, http.MethodPost, "/api/v1/sessions/refresh", "", map[string]any{"refresh_token": p.refresh})
			}
			second := renew().json(t)["access_token"].(string)
			require.Equal(t, http.StatusUnauthorized, renew().status)
			refused(t, sites, p)
			refused(t, sites, person{access: second})
		})
	})
}

func accepted(t *testing.T, sites []*site, p person) {
	t.Helper()
	for _, s := range sites {
		for _, path := range paths {
			r := s.call(t, http.MethodGet, path, p.access, nil)
			require.Equal(t, http.StatusOK, r.status, "%s: %s", path, r.body)
		}
	}
}

// refused waits until each module of each process refuses the token.
func refused(t *testing.T, sites []*site, p person, at ...string) {
	t.Helper()
	if len(at) == 0 {
		at = paths
	}
	for _, s := range sites {
		for _, path := range at {
			require.Eventually(t, func() bool {
				r := s.call(t, http.MethodGet, path, p.access, nil)
				return r.status == http.StatusUnauthorized && r.code() == "token_revoked"
			}, 10*time.Second, time.Millisecond, path)
		}
	}
}
