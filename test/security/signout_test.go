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

		t.Run("LogOut", func(t *testing.T) {
			p := s.customer(t)
			other := s.logIn(t, p.email)
			accepted(t, sites, p)
			require.Equal(t, http.StatusNoContent, s.call(t, http.MethodDelete, "/api/v1/sessions/current", p.access, nil).status)
			refused(t, sites, p)
			accepted(t, sites, other)
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
		t.Run("Disable", func(t *testing.T) {
			p := s.customer(t)
			accepted(t, sites, p)
			disable(t, p)
			refused(t, sites, p)
			r := s.call(t, http.MethodPost, "/api/v1/users/"+p.id+"/enable", root.access, nil)
			require.Equal(t, http.StatusOK, r.status, "%s", r.body)
			accepted(t, sites, s.logIn(t, p.email))
			refused(t, sites, p)
		})
		t.Run("Measured", func(t *testing.T) {
			const n = 10
			var took []time.Duration
			for range n {
				p := s.customer(t)
				accepted(t, sites, p)
				disable(t, p)
				began := time.Now()
				refused(t, sites, p)
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			t.Logf("disable → refused by every module of %d process(es): p50 %s, max of %d %s", len(sites), took[n/2], n, took[n-1])
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
