package oauth_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cleave/modules/user/internal/domain"
)

// TestConsent asks in words that say who wants what for how long, and takes no for an answer.
func TestConsent(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		page := f.send(t, f.send(t, "/oauth2/login", f.loginPage(t).form("email", email, "password", secret)).location(t).RequestURI(), nil)
		for _, text := range []string{"<strong>Shop front</strong>", "Know which account you have here", "Use the order service in your name", "after 1 hour at the latest"} {
			require.Contains(t, page.body, text)
		}
		back := f.send(t, "/oauth2/consent", page.form("decision", "deny")).location(t)
		require.Equal(t, "access_denied", back.Query().Get("error"))
		require.Empty(t, back.Query().Get("code"))
		again := f.send(t, "/oauth2/consent", page.form("decision", "allow"))
		require.Equal(t, http.StatusBadRequest, again.StatusCode, "the request is over")
	})
}

func TestSecondFactor(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		key, recovery := f.guarded(t)
		step := func(t *testing.T) answer {
			t.Helper()
			page := f.send(t, "/oauth2/login", f.loginPage(t).form("email", email, "password", secret))
			require.Equal(t, http.StatusOK, page.StatusCode, page.body)
			return page
		}
		page := step(t)
		require.Contains(t, page.body, `autocomplete="one-time-code"`)
		require.NotContains(t, page.body, "<script")
		require.Contains(t, page.Header.Get("Content-Security-Policy"), "default-src 'none'")
		passedBy := f.send(t, "/oauth2/consent", page.form("decision", "allow"))
		require.Equal(t, http.StatusBadRequest, passedBy.StatusCode, "the password alone lets nobody in")

		wrong := f.send(t, "/oauth2/second-factor", page.form("code", "000000"))
		require.Equal(t, http.StatusUnauthorized, wrong.StatusCode)
		require.Contains(t, wrong.body, `aria-describedby="error hint"`)
		code := f.totp(t, key)
		_, body := f.token(t, f.consent(t, f.send(t, "/oauth2/second-factor", wrong.form("code", code[:3]+" "+code[3:]))))
		require.Equal(t, []any{"pwd", "otp", "mfa"}, claims(t, body)["amr"])

		again := f.send(t, "/oauth2/second-factor", step(t).form("code", code))
		require.Equal(t, http.StatusUnauthorized, again.StatusCode, "a code works once")
		written := strings.ToLower(recovery[0]) + " "
		f.consent(t, f.send(t, "/oauth2/second-factor", step(t).form("code", written)))
		used := f.send(t, "/oauth2/second-factor", step(t).form("code", written))
		require.Equal(t, http.StatusUnauthorized, used.StatusCode, "so does a recovery code")

		page = step(t)
		forged := page.form("code", f.totp(t, key), "csrf", "forged")
		require.Equal(t, http.StatusBadRequest, f.send(t, "/oauth2/second-factor", forged).StatusCode)
		crossSite := f.send(t, "/oauth2/second-factor", page.form("code", f.totp(t, key)), func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") })
		require.Equal(t, http.StatusForbidden, crossSite.StatusCode)
		f.browser = f.newBrowser(t)
		require.Equal(t, http.StatusBadRequest, f.send(t, "/oauth2/second-factor", page.form("code", f.totp(t, key))).StatusCode, "another browser")
	})
}

// TestSecondFactor_Guessing meets the same limits as the API.
func TestSecondFactor_Guessing(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		key, _ := f.guarded(t)
		step := func() answer {
			return f.send(t, "/oauth2/login", f.loginPage(t).form("email", email, "password", secret))
		}
		for range domain.MaxFactorFailures / domain.MaxChallengeAttempts {
			page := step()
			for range domain.MaxChallengeAttempts {
				require.Equal(t, http.StatusUnauthorized, f.send(t, "/oauth2/second-factor", page.form("code", "AAAA-AAAA-AAAA-AAAA-AAAA-AAAA")).StatusCode)
			}
			over := f.send(t, "/oauth2/second-factor", page.form("code", f.totp(t, key)))
			require.Equal(t, http.StatusUnauthorized, over.StatusCode)
			require.Contains(t, over.body, `name="password"`, "it begins with the password again")
		}
		locked := f.send(t, "/oauth2/second-factor", step().form("code", f.totp(t, key)))
		require.Equal(t, http.StatusTooManyRequests, locked.StatusCode, locked.body)
		f.clock.Add(int64(domain.FactorLock + time.Second))
		f.consent(t, f.send(t, "/oauth2/second-factor", step().form("code", f.totp(t, key))))
	})
}
