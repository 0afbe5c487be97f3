package security_test

import (
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cleave/platform/config"
	"cleave/platform/moduletest"
)

// mailedCode waits for the newest mail to an address whose text matches, and returns the code in it.
func (s *site) mailedCode(t *testing.T, to, subject string) (code string) {
	t.Helper()
	alone := regexp.MustCompile(`(?m)^    ([A-Za-z0-9_-]{20,})\r?$`)
	require.Eventually(t, func() bool {
		names, _ := filepath.Glob(filepath.Join(s.cfg.Data.Dir, "mail", "*.eml"))
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil || !strings.Contains(string(text), to) || !strings.Contains(string(text), subject) {
				continue
			}
			if found := alone.FindStringSubmatch(string(text)); found != nil {
				code = found[1]
			}
		}
		return code != ""
	}, 20*time.Second, 20*time.Millisecond, "no mail to %s", to)
	return code
}

// bound is how many times as long as the other a request may take, for an address that has an account and for one that has not. Two requests of which
// one hashes no password, or commits nothing, are a factor of 5 to 20 apart; the load of a busy machine has made one of 2.3 of equal ones.
const bound = 3.0

// TestEnumeration asks in every way that anyone has whether an address has an account, as the program is configured where it is not on
// its user's own machine (ASVS 5.0 6.3.8): status, headers, text and time are the same for one that has and one that has not.
func TestEnumeration(t *testing.T) {
	t.Parallel()
	moduletest.Each(t, specs, func(t *testing.T, cfg *config.Config) {
		t.Parallel()
		cfg.HTTP.RequestTimeout = time.Minute
		cfg.Auth.Issuer = "https://shop.example"
		s := start(t, cfg)
		register := func(t *testing.T, email string) reply {
			return s.call(t, http.MethodPost, "/api/v1/users", "", object{"email": email, "password": password, "display_name": "Ada"})
		}
		logIn := func(t *testing.T, email string) reply {
			return s.call(t, http.MethodPost, "/api/v1/sessions", "", object{"email": email, "password": password})
		}
		enter := func(t *testing.T, email string) person {
			require.Equal(t, http.StatusCreated, register(t, email).status)
			r := s.call(t, http.MethodPost, "/api/v1/email-verifications/confirm", "", object{"token": s.mailedCode(t, email, "confirm")})
			require.Equal(t, http.StatusNoContent, r.status, "%s", r.body)
			return s.logIn(t, email)
		}
		me, owner := enter(t, "me@example.com"), "owner@example.com"
		enter(t, owner)
		unverified := "unverified@example.com"
		register(t, unverified)

		// What a request has that may differ: names of its own, and the times.
		volatile := regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}|\d{4}-\d\d-\d\dT[0-9:.]+Z|"version":\d+|[a-z]+\d*@example\.com`)
		plain := func(r reply) string { return volatile.ReplaceAllString(string(r.body), "…") }
		free := func() string { return "free" + time.Now().Format("150405000000") + "@example.com" }
		patch := func(t *testing.T, email string) reply {
			tag := s.call(t, http.MethodGet, "/api/v1/me", me.access, nil).header.Get("ETag")
			return s.call(t, http.MethodPatch, "/api/v1/me", me.access, object{"email": email, "password": password}, "If-Match", tag)
		}
		mailed := func(path string) func(*testing.T, string) reply {
			return func(t *testing.T, email string) reply {
				return s.call(t, http.MethodPost, path, "", object{"email": email})
			}
		}
		for _, way := range []struct {
			name   string
			ask    func(t *testing.T, email string) reply
			status int
		}{
			{"Register", register, http.StatusCreated},
			{"LogIn", func(t *testing.T, email string) reply {
				return s.call(t, http.MethodPost, "/api/v1/sessions", "", object{"email": email, "password": "a wrong horse"})
			}, http.StatusUnauthorized},
			{"RegisterAndLogIn", func(t *testing.T, email string) reply {
				if email == owner { // with a password of their own, which is not the owner's
					r := s.call(t, http.MethodPost, "/api/v1/users", "", object{"email": email, "password": "a third horse", "display_name": "Ada"})
					require.Equal(t, http.StatusCreated, r.status)
					return s.call(t, http.MethodPost, "/api/v1/sessions", "", object{"email": email, "password": "a third horse"})
				}
				require.Equal(t, http.StatusCreated, register(t, email).status)
				return logIn(t, email)
			}, http.StatusUnauthorized},
			{"ChangeEmail", patch, http.StatusOK},
			{"PasswordReset", mailed("/api/v1/password-resets"), http.StatusAccepted},
			{"Verification", mailed("/api/v1/email-verifications"), http.StatusAccepted},
		} {
			t.Run(way.name, func(t *testing.T) {
				n := 16 // of each; the ways that hash no password take little time and are asked more often
				if way.status == http.StatusAccepted {
					n = 60
				}
				times := map[bool][]time.Duration{} // by whether the address has an account
				for i := range n {
					var answers [2]reply
					for j := range answers {
						// What a request leaves to do goes on while the next one is timed, so each kind follows each as often.
						email, known := free(), (i+j)%2 == 0
						if known {
							email = owner
						}
						began := time.Now()
						answers[j] = way.ask(t, email)
						times[known] = append(times[known], time.Since(began))
						require.Equal(t, way.status, answers[j].status, "%s", answers[j].body)
					}
					require.Equal(t, plain(answers[0]), plain(answers[1]))
					require.Equal(t, slices.Sorted(maps.Keys(answers[0].header)), slices.Sorted(maps.Keys(answers[1].header)))
				}
				// Other work only ever adds to a time, so the lower quartile says more of the work of the request than the median.
				quartile := func(known bool) time.Duration {
					slices.Sort(times[known])
					return times[known][n/4]
				}
				with, without := quartile(true), quartile(false)
				ratio := with.Seconds() / without.Seconds()
				t.Logf("with an account %s, without %s, ratio %.2f", with, without, ratio)
				require.Greater(t, ratio, 1/bound)
				require.Less(t, ratio, bound)
			})
		}
		t.Run("Unverified", func(t *testing.T) {
			require.Equal(t, "credentials_invalid", logIn(t, unverified).code())
			r := s.call(t, http.MethodPost, "/api/v1/email-verifications/confirm", "", object{"token": s.mailedCode(t, unverified, "confirm")})
			require.Equal(t, http.StatusNoContent, r.status, "%s", r.body)
			require.Equal(t, http.StatusCreated, logIn(t, unverified).status)
		})
		t.Run("ChangedEmail", func(t *testing.T) {
			r := patch(t, "moved@example.com")
			require.Equal(t, http.StatusOK, r.status, "%s", r.body)
			r = s.call(t, http.MethodPost, "/api/v1/email-verifications/confirm", "", object{"token": s.mailedCode(t, "moved@example.com", "confirm")})
			require.Equal(t, http.StatusNoContent, r.status, "%s", r.body)
			require.Equal(t, "credentials_invalid", logIn(t, me.email).code())
			require.Equal(t, http.StatusCreated, logIn(t, "moved@example.com").status)
			require.Eventually(t, func() bool {
				names, _ := filepath.Glob(filepath.Join(cfg.Data.Dir, "mail", "*.eml"))
				return slices.ContainsFunc(names, func(name string) bool {
					text, _ := os.ReadFile(name)
					return strings.Contains(string(text), "To: ") && strings.Contains(string(text), me.email) && strings.Contains(string(text), "was changed")
				})
			}, 20*time.Second, 20*time.Millisecond, "the former address is told")
		})
	})
}
