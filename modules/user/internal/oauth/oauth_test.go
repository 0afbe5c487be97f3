package oauth_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/pquerna/otp/totp"
	"github.com/stretchr/testify/require"

	"cleave/modules/user/internal/app"
	"cleave/modules/user/internal/domain"
	"cleave/modules/user/internal/keys"
	"cleave/modules/user/internal/oauth"
	"cleave/modules/user/internal/password"
	"cleave/modules/user/internal/store"
	"cleave/modules/user/migrations"
	userv1 "cleave/modules/user/v1"
	"cleave/platform/audit"
	"cleave/platform/auth"
	"cleave/platform/db"
	"cleave/platform/db/dbtest"
	"cleave/platform/event"
	"cleave/platform/module"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // of the library
	dbtest.Main(m)
}

const (
	issuer   = "http://127.0.0.1"
	callback = "http://127.0.0.1:8123/callback"
	secret   = "correct horse"
	verifier = "a verifier of 43 characters at the very least"
	email    = "ada@example.com"
)

// fixture is a provider whose time the test moves, with a browser, a user and a client.
type fixture struct {
	*app.App
	url     string
	clock   atomic.Int64 // ahead of the real one
	browser *http.Client
	user    domain.User
	client  store.OAuthClient
	secret  string // of the client
}

func setup(t *testing.T, c db.Config) *fixture {
	t.Helper()
	d := dbtest.Open(t, c, "user", migrations.FS, store.Constraints)
	f, s := &fixture{}, store.New(d)
	now := func() time.Time { return time.Now().Add(time.Duration(f.clock.Load())) }
	log := slog.New(slog.DiscardHandler)
	ring, err := keys.Open(t.Context(), keys.Options{DB: d, Store: s, Log: log, Now: now})
	require.NoError(t, err)
	bus := event.NewBus(event.Options{Log: log, Now: now, NewID: module.NewID})
	f.App = app.New(app.Deps{
		DB: d, Store: s, Secrets: ring, Passwords: password.New(2, domain.ErrPasswordsBusy, nil), Issuer: issuer, Audience: []string{"user", "order"}, Now: now,
		NewID: module.NewID, Currency: "EUR", SessionTTL: time.Hour, SessionIdle: time.Hour, MaxSessions: 100, TokenFile: filepath.Join(t.TempDir(), "token"), Audit: audit.New(d, issuer, now),
		Signer: auth.NewSigner(ring.Signing, issuer, []string{"user", "order"}, time.Minute, now),
		Events: bus.Publisher("user", d, []event.Type{
			userv1.Registered, userv1.EmailVerificationRequested, userv1.Revoked, userv1.SecondFactorChanged,
		}),
		Forget: func(context.Context, string) error { return nil },
	})
	server := httptest.NewServer(oauth.Handler(oauth.Options{
		App: f.App, Ring: ring, Revoked: &auth.Revocations{}, Issuer: issuer, Audience: []string{"user", "order"}, Now: now,
	}))
	t.Cleanup(server.Close)
	f.url = server.URL
	f.browser = f.newBrowser(t)
	_, err = f.Register(t.Context(), app.Registration{Email: email, DisplayName: "Ada", Password: secret})
	require.NoError(t, err)
	f.user, err = s.UserByEmail(t.Context(), email)
	require.NoError(t, err)
	staff := auth.With(t.Context(), auth.Principal{Subject: "staff"})
	f.client, f.secret, err = f.CreateClient(staff, app.NewClient{
		Name: "Shop front", RedirectURIs: []string{callback}, Grants: []string{app.GrantCode, app.GrantRefresh}, Scopes: []string{"openid", "offline_access", "order"},
	})
	require.NoError(t, err)
	return f
}

func each(t *testing.T, fn func(t *testing.T, f *fixture)) {
	t.Helper()
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) { fn(t, setup(t, c)) })
}

func (f *fixture) newBrowser(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	return &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// answer is a response with its body.
type answer struct {
	*http.Response
	body string
}

// send makes a request; form is nil for a GET.
func (f *fixture) send(t *testing.T, path string, form url.Values, edit ...func(*http.Request)) answer {
	t.Helper()
	method, body := http.MethodGet, ""
	if form != nil {
		method, body = http.MethodPost, form.Encode()
	}
	if strings.HasPrefix(path, "/") {
		path = f.url + path
	}
	r, err := http.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for _, e := range edit {
		e(r)
	}
	resp, err := f.browser.Do(r)
	require.NoError(t, err)
	defer func() { require.NoError(t, resp.Body.Close()) }()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return answer{resp, string(text)}
}

var hidden = regexp.MustCompile(`<input type="hidden" name="(\w+)" value="([^"]*)">`)

// form is what a page's form would send.
func (a answer) form(fields ...string) url.Values {
	v := url.Values{}
	for _, m := range hidden.FindAllStringSubmatch(a.body, -1) {
		v.Set(m[1], m[2])
	}
	for i := 0; i < len(fields); i += 2 {
		v.Set(fields[i], fields[i+1])
	}
	return v
}

// location is where a redirect leads, as a path of this server or an address of another.
func (a answer) location(t *testing.T) *url.URL {
	t.Helper()
	require.GreaterOrEqual(t, a.StatusCode, 300, "%s", a.body)
	u, err := a.Location()
	require.NoError(t, err, "%d %s", a.StatusCode, a.body)
	return u
}

// authorize asks for authorisation, with changes, and returns the answer.
func (f *fixture) authorize(t *testing.T, changes ...string) answer {
	t.Helper()
	sum := sha256.Sum256([]byte(verifier))
	q := url.Values{
		"client_id": {f.client.ID}, "redirect_uri": {callback}, "response_type": {"code"}, "scope": {"openid offline_access order"}, "state": {"s"}, "nonce": {"n"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}
	for i := 0; i < len(changes); i += 2 {
		q.Set(changes[i], changes[i+1])
	}
	return f.send(t, "/oauth2/authorize?"+q.Encode(), nil)
}

// loginPage begins an authorisation and returns the page that asks for the password.
func (f *fixture) loginPage(t *testing.T) answer {
	t.Helper()
	page := f.send(t, f.authorize(t).location(t).RequestURI(), nil)
	require.Equal(t, http.StatusOK, page.StatusCode, page.body)
	return page
}

// consent takes a user who has logged in to the code.
func (f *fixture) consent(t *testing.T, loggedIn answer) string {
	t.Helper()
	page := f.send(t, loggedIn.location(t).RequestURI(), nil)
	require.Contains(t, page.body, "Allow access?")
	back := f.send(t, "/oauth2/consent", page.form("decision", "allow")).location(t)
	require.Equal(t, "s", back.Query().Get("state"))
	require.Equal(t, issuer, back.Query().Get("iss"))
	return back.Query().Get("code")
}

// code is one that the user has consented to.
func (f *fixture) code(t *testing.T) string {
	t.Helper()
	return f.consent(t, f.send(t, "/oauth2/login", f.loginPage(t).form("email", email, "password", secret)))
}

// token calls the token endpoint; what is changed to "" is left out.
func (f *fixture) token(t *testing.T, code string, changes ...string) (status int, body map[string]any) {
	t.Helper()
	v := url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback}, "code_verifier": {verifier}, "client_id": {f.client.ID},
		"client_secret": {f.secret},
	}
	for i := 0; i < len(changes); i += 2 {
		if changes[i+1] == "" {
			v.Del(changes[i])
		} else {
			v.Set(changes[i], changes[i+1])
		}
	}
	a := f.send(t, "/oauth2/token", v)
	require.NoError(t, json.Unmarshal([]byte(a.body), &body), a.body)
	return a.StatusCode, body
}

// claims reads an id token.
func claims(t *testing.T, body map[string]any) jwt.MapClaims {
	t.Helper()
	c := jwt.MapClaims{}
	_, _, err := jwt.NewParser().ParseUnverified(body["id_token"].(string), c)
	require.NoError(t, err)
	return c
}

// guarded gives the user an authenticator, whose secret it returns, and recovery codes.
func (f *fixture) guarded(t *testing.T) (key string, recovery []string) {
	t.Helper()
	p := auth.Principal{Subject: f.user.ID, Session: f.NewID()}
	key, _, err := f.EnrolSecondFactor(t.Context(), p, secret)
	require.NoError(t, err)
	recovery, err = f.ConfirmSecondFactor(t.Context(), p, f.totp(t, key))
	require.NoError(t, err)
	return key, recovery
}

// totp is a code that was not used before: it moves the time on.
func (f *fixture) totp(t *testing.T, key string) string {
	t.Helper()
	f.clock.Add(int64(time.Minute))
	code, err := totp.GenerateCode(key, f.Now())
	require.NoError(t, err)
	return code
}
