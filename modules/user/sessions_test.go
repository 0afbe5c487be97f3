package user_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cleave/modules/user"
	"cleave/platform/config"
	"cleave/platform/module"
	"cleave/platform/moduletest"
)

func TestSessions(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		me := f.customer(t)
		refresh := func(token string) answer {
			return f.do(t, http.MethodPost, "/api/v1/sessions/refresh", "", `{"refresh_token": "`+token+`"}`)
		}
		t.Run("LogIn", func(t *testing.T) {
			a := f.do(t, http.MethodPost, "/api/v1/sessions", "", `{"email": "`+strings.ToUpper(me.Email)+`", "password": "correct horse"}`)
			require.Equal(t, http.StatusCreated, a.status, "%v", a.body)
			require.Equal(t, "Bearer", a.body["token_type"])
			require.InDelta(t, f.cfg.Auth.AccessTTL.Seconds(), a.body["expires_in"], 2)
			a = f.do(t, http.MethodPost, "/api/v1/sessions", "", `{"email": "`+me.Email+`", "password": "wrong horse"}`)
			f.refused(t, a, http.StatusUnauthorized, "credentials_invalid")
			require.NotEmpty(t, a.header.Get("WWW-Authenticate"))
			b := f.do(t, http.MethodPost, "/api/v1/sessions", "", `{"email": "nobody@example.com", "password": "wrong horse"}`)
			require.Equal(t, a.body["detail"], b.body["detail"], "the answer does not tell who is registered")
			require.Equal(t, a.status, b.status)
		})
		t.Run("Refresh", func(t *testing.T) {
			a := refresh(me.refresh)
			require.Equal(t, http.StatusOK, a.status, "%v", a.body)
			require.Equal(t, http.StatusOK, f.do(t, http.MethodGet, "/api/v1/me", a.body["access_token"].(string), "").status)
			f.refused(t, refresh(me.refresh), http.StatusUnauthorized, "refresh_token_invalid")
			f.refused(t, refresh(a.body["refresh_token"].(string)), http.StatusUnauthorized, "refresh_token_invalid")
			f.refused(t, refresh("0123456789abcdef"), http.StatusUnauthorized, "refresh_token_invalid")
			require.Equal(t, http.StatusUnprocessableEntity, refresh("too short").status)
		})
		t.Run("RefreshReplayed", func(t *testing.T) {
			p := f.login(t, me.User)
			body := `{"refresh_token": "` + p.refresh + `"}`
			a := f.do(t, http.MethodPost, "/api/v1/sessions/refresh", "", body, "Idempotency-Key", "r")
			require.Equal(t, http.StatusOK, a.status)
			again := f.do(t, http.MethodPost, "/api/v1/sessions/refresh", "", body, "Idempotency-Key", "r")
			require.Equal(t, a.body, again.body, "a client that missed the answer gets it, and its session goes on")
			require.Equal(t, http.StatusOK, refresh(a.body["refresh_token"].(string)).status)
		})
		t.Run("LogOut", func(t *testing.T) {
			p := f.login(t, me.User)
			require.Equal(t, http.StatusNoContent, f.do(t, http.MethodDelete, "/api/v1/sessions/current", p.token, "").status)
			require.Eventually(t, func() bool {
				return f.do(t, http.MethodDelete, "/api/v1/sessions/current", p.token, "").code() == "token_revoked"
			}, 10*time.Second, 10*time.Millisecond)
			f.refused(t, refresh(p.refresh), http.StatusUnauthorized, "refresh_token_invalid")
			f.refused(t, f.do(t, http.MethodDelete, "/api/v1/sessions/current", "", ""), http.StatusUnauthorized, "token_missing")
		})
	})
}

// TestRestart starts the module again on the same database: what it signed and whom it knows stays good.
func TestRestart(t *testing.T) {
	t.Parallel()
	moduletest.Each(t, []module.Spec{user.Module}, func(t *testing.T, cfg *config.Config) {
		t.Parallel()
		f := setup(t, cfg)
		offered := f.firstAdminToken(t)
		me := f.customer(t)
		require.NoError(t, f.host.Stop(context.WithoutCancel(t.Context())))

		f = setup(t, cfg)
		require.Equal(t, offered, f.firstAdminToken(t))
		require.Equal(t, http.StatusOK, f.do(t, http.MethodGet, "/api/v1/me", me.token, "").status)
		a := f.do(t, http.MethodPost, "/api/v1/sessions/refresh", "", `{"refresh_token": "`+me.refresh+`"}`)
		require.Equal(t, http.StatusOK, a.status, "%v", a.body)
		f.admin(t)
	})
}
