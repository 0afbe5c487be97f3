package topology_test

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const password = "correct horse battery staple"

// script is one run through the whole API, by one front door.
type script struct {
	t    testing.TB
	site *site
	door *door
	rec  *record
	pace time.Duration // what the slowest step waited for a background effect

	admin, buyer, other *user
	lamp, desk, dollar  string // products
}

// user is somebody of the script; none is a stranger.
type user struct {
	id, email, token, refresh string
}

// do makes a request and records it with its answer.
func (s *script) do(who *user, method, path, body string, headers ...string) answer {
	s.t.Helper()
	a := s.ask(who, method, path, body, headers...)
	s.note(method+" "+path+" "+short(body)+" "+short(strings.Join(headers, " ")), a)
	return a
}

// ask makes a request that is not recorded.
func (s *script) ask(who *user, method, path, body string, headers ...string) answer {
	s.t.Helper()
	token := ""
	if who != nil {
		token = who.token
	}
	a, err := s.door.send(method, path, token, body, headers...)
	require.NoError(s.t, err, "%s %s", method, path)
	return a
}

func (s *script) note(title string, a answer) { s.rec.add(title, a.text()) }

func short(text string) string {
	if len(text) > 300 {
		return fmt.Sprintf("%s… of %d bytes", text[:40], len(text))
	}
	return text
}

// until repeats a read until it says what is wanted, and records that answer.
func (s *script) until(who *user, path string, want func(answer) bool) (a answer) {
	s.t.Helper()
	began := time.Now()
	require.True(s.t, happens(func() bool {
		a = s.ask(who, http.MethodGet, path, "")
		return want(a)
	}), "GET %s stays %d %s", path, a.status, a.body)
	s.pace = max(s.pace, time.Since(began))
	s.note("GET "+path+" in the end", a)
	return a
}

func has(text string) func(answer) bool {
	return func(a answer) bool { return strings.Contains(a.body, text) }
}

// run is the whole script.
func (s *script) run() {
	for _, part := range []func(){
		s.fronts, s.accounts, s.catalogue, s.badRequests, s.orders, s.rights, s.sagas, s.idempotency, s.notifications, s.lists,
		s.money, s.openID, s.keys, s.operators, s.exports, s.mailed, s.farewell,
	} {
		part()
	}
	s.settle()
	s.tables()
	s.mails()
}

// fronts is what every process answers without asking a module, and what no process knows.
func (s *script) fronts() {
	for _, path := range []string{"/readyz", "/livez", "/openapi.json", "/docs", "/docs/init.js", "/.well-known/openid-configuration", "/.well-known/jwks.json"} {
		s.do(nil, http.MethodGet, path, "")
		s.do(nil, http.MethodHead, path, "")
		s.do(nil, http.MethodPost, path, "")
	}
	for _, path := range []string{"/api/v1/orders", "/api/v1/users", "/api/v1/notifications", "/api/v1/products", "/oauth2/token", "/api/v1/admin/modules/order/lag", "/api/v1/nothing", "/"} {
		s.do(nil, http.MethodOptions, path, "")
		s.do(nil, http.MethodOptions, path, "", "Origin", "https://front.example", "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization,idempotency-key")
		s.do(nil, http.MethodOptions, path, "", "Origin", "https://evil.example", "Access-Control-Request-Method", "POST")
		s.do(nil, http.MethodGet, path, "", "Origin", "https://front.example")
		s.do(nil, http.MethodHead, path, "")
		s.do(nil, http.MethodDelete, path, "")
		s.do(nil, http.MethodGet, path+"/", "")
	}
	s.do(nil, http.MethodGet, "/api/v1/products", "", "X-Request-Id", "chosen-by-the-client.1")
	s.do(nil, http.MethodGet, "/api/v1/products", "", "X-Request-Id", "not good")
	s.do(nil, http.MethodGet, "/api/v1/products", "", "Authorization", "Basic YTpi")
	s.do(nil, http.MethodGet, "/api/v1/products", "", "Authorization", "Bearer x", "Authorization", "Bearer y")
	s.do(nil, http.MethodGet, "/api/v1//products", "")
	s.do(nil, http.MethodGet, "/api/v1/orders/..%2Fproducts", "")
	s.do(nil, "BREW", "/api/v1/orders", "")
}

// accounts makes the people of the script.
func (s *script) accounts() {
	first := `{"token":%q,"email":"root@example.com","password":"` + password + `","display_name":"Grace Hopper"}`
	s.do(nil, http.MethodPost, "/api/v1/users/first-admin", fmt.Sprintf(first, strings.Repeat("A", 43)))
	s.do(nil, http.MethodPost, "/api/v1/users/first-admin", fmt.Sprintf(first, s.site.token))
	s.do(nil, http.MethodPost, "/api/v1/users/first-admin", fmt.Sprintf(first, s.site.token))
	s.admin = s.logIn("root@example.com")
	s.buyer, s.other = s.register("ada@example.com", "Ada Lovelace"), s.register("alan@example.com", "Alan Turing")

	s.do(nil, http.MethodPost, "/api/v1/users", `{"email":"ADA@example.com","password":"`+password+`","display_name":"Eve"}`)
	s.letters(s.buyer.email, "registration_attempt", 1) // written to the name that she still has
	s.do(nil, http.MethodPost, "/api/v1/users", `{"email":"eve","password":"short","display_name":" "}`)
	s.do(nil, http.MethodPost, "/api/v1/sessions", `{"email":"ada@example.com","password":"wrong horse battery"}`)
	s.do(nil, http.MethodPost, "/api/v1/sessions", `{"email":"nobody@example.com","password":"wrong horse battery"}`)
	s.do(nil, http.MethodPost, "/api/v1/sessions/refresh", `{"refresh_token":"`+strings.Repeat("A", 43)+`"}`)
	a := s.do(nil, http.MethodPost, "/api/v1/sessions/refresh", fmt.Sprintf(`{"refresh_token":%q}`, s.other.refresh), "Idempotency-Key", "refresh-1")
	s.do(nil, http.MethodPost, "/api/v1/sessions/refresh", fmt.Sprintf(`{"refresh_token":%q}`, s.other.refresh), "Idempotency-Key", "refresh-1")
	s.other.token, s.other.refresh = a.json(s.t, "access_token"), a.json(s.t, "refresh_token")

	me := s.do(s.buyer, http.MethodGet, "/api/v1/me", "")
	s.do(s.buyer, http.MethodPatch, "/api/v1/me", `{"display_name":"Ada King"}`)
	s.do(s.buyer, http.MethodPatch, "/api/v1/me", `{"display_name":"Ada King"}`, "If-Match", `"99"`)
	s.do(s.buyer, http.MethodPatch, "/api/v1/me", `{"display_name":"Ada King"}`, "If-Match", "nonsense")
	s.do(s.buyer, http.MethodPatch, "/api/v1/me", `{"display_name":"Ada King, größte"}`, "If-Match", me.header.Get("ETag"))
	s.do(s.buyer, http.MethodGet, "/api/v1/me/sessions", "", "User-Agent", "a browser")
}

func (s *script) register(email, name string) *user {
	s.do(nil, http.MethodPost, "/api/v1/users", fmt.Sprintf(`{"email":%q,"password":%q,"display_name":%q}`, email, password, name), "Idempotency-Key", "register-"+email)
	s.do(nil, http.MethodPost, "/api/v1/email-verifications/confirm", fmt.Sprintf(`{"token":%q}`, s.code(email, "verification")))
	u := s.logIn(email)
	s.until(u, "/api/v1/notifications", has(`"registered"`))
	return u
}

func (s *script) logIn(email string) *user {
	a := s.do(nil, http.MethodPost, "/api/v1/sessions", fmt.Sprintf(`{"email":%q,"password":%q}`, email, password), "User-Agent", "script/1")
	u := &user{id: a.json(s.t, "user_id"), email: email, token: a.json(s.t, "access_token"), refresh: a.json(s.t, "refresh_token")}
	s.rec.add("the token of "+email, claims(u.token))
	return u
}

// mails compares what users were written.
func (s *script) mails() {
	files, err := filepath.Glob(filepath.Join(s.site.of("notification").dir, "mail", "*.eml"))
	require.NoError(s.t, err)
	var all []string
	for _, f := range files {
		content, err := os.ReadFile(f)
		require.NoError(s.t, err)
		all = append(all, letter(s.t, content))
	}
	s.rec.addRows("mails", all)
}

// letter is a mail as its reader sees it: the header and both forms of the text.
func letter(t testing.TB, content []byte) string {
	t.Helper()
	m, err := mail.ReadMessage(bytes.NewReader(content))
	require.NoError(t, err)
	var b strings.Builder
	for _, name := range []string{"Message-Id", "From", "To", "Subject"} {
		fmt.Fprintf(&b, "%s: %s\n", name, m.Header.Get(name))
	}
	_, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	require.NoError(t, err)
	for parts := multipart.NewReader(m.Body, params["boundary"]); ; {
		part, err := parts.NextPart() // which decodes quoted-printable
		if err != nil {
			require.ErrorIs(t, err, io.EOF)
			return b.String()
		}
		text, err := io.ReadAll(part)
		require.NoError(t, err)
		fmt.Fprintf(&b, "%s\n%s\n", part.Header.Get("Content-Type"), text)
	}
}
