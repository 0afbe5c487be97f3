package topology_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/stretchr/testify/require"
)

const (
	callback = "http://127.0.0.1:8123/callback"
	form     = "application/x-www-form-urlencoded"
	verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk" // RFC 7636, appendix B, as is its challenge
)

var csrf = regexp.MustCompile(`name="csrf" value="([^"]+)"`)

// openID lets an application in, with a user's consent and on its own.
func (s *script) openID() {
	c := s.do(s.admin, http.MethodPost, "/api/v1/oauth-clients", `{"name":"Shop <b>front</b>","grants":["authorization_code","refresh_token"],"redirect_uris":["`+callback+
		`"],"post_logout_uris":["`+callback+`"],"scopes":["openid","profile","email","offline_access","order"]}`)
	app, secret := c.json(s.t, "client", "client_id"), c.json(s.t, "client_secret")
	query := url.Values{
		"client_id": {app}, "redirect_uri": {callback}, "response_type": {"code"}, "scope": {"openid order offline_access"}, "state": {"a state & more"},
		"code_challenge": {"E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"}, "code_challenge_method": {"S256"}, "nonce": {"n"},
	}
	with := func(name, value string) string {
		q := url.Values{}
		for n, v := range query {
			q[n] = v
		}
		q.Set(name, value)
		return "/oauth2/authorize?" + q.Encode()
	}
	for _, path := range []string{with("client_id", "x"), with("redirect_uri", callback+"/more"), with("response_type", "token"), with("code_challenge", ""), with("prompt", "none"), with("scope", "user")} {
		s.do(nil, http.MethodGet, path, "")
	}
	start := s.do(nil, http.MethodGet, with("state", "a state & more"), "")
	location, err := url.Parse(start.header.Get("Location"))
	require.NoError(s.t, err)
	cookie, _, _ := strings.Cut(start.header.Get("Set-Cookie"), ";")
	page := s.do(nil, http.MethodGet, location.RequestURI(), "", "Cookie", cookie)
	s.do(nil, http.MethodGet, location.RequestURI(), "")
	hidden := func(a answer) string {
		found := csrf.FindStringSubmatch(a.body)
		require.NotNil(s.t, found, "%d %s", a.status, a.body)
		return found[1]
	}
	v := url.Values{"request": {location.Query().Get("request")}, "csrf": {hidden(page)}, "email": {s.buyer.email}, "password": {"wrong horse"}}
	s.do(nil, http.MethodPost, "/oauth2/login", v.Encode(), "Cookie", cookie, "Content-Type", form)
	v.Set("password", password)
	s.do(nil, http.MethodPost, "/oauth2/login", v.Encode(), "Cookie", cookie, "Content-Type", form, "Sec-Fetch-Site", "cross-site")
	in := s.do(nil, http.MethodPost, "/oauth2/login", v.Encode(), "Cookie", cookie, "Content-Type", form)
	if to := in.header.Get("Location"); to != "" {
		next, err := url.Parse(to)
		require.NoError(s.t, err)
		in = s.do(nil, http.MethodGet, next.RequestURI(), "", "Cookie", cookie)
	}
	v = url.Values{"request": v["request"], "csrf": {hidden(in)}, "decision": {"allow"}}
	done := s.do(nil, http.MethodPost, "/oauth2/consent", v.Encode(), "Cookie", cookie, "Content-Type", form)
	for range 3 { // the provider may answer in more than one step
		if to, err := url.Parse(done.header.Get("Location")); err == nil && to.Query().Get("code") == "" && to.Path != "" {
			done = s.do(nil, http.MethodGet, to.RequestURI(), "", "Cookie", cookie)
		}
	}
	back, err := url.Parse(done.header.Get("Location"))
	require.NoError(s.t, err)
	post := func(path string, v url.Values) answer {
		return s.do(nil, http.MethodPost, path, v.Encode(), "Content-Type", form)
	}
	code := url.Values{
		"grant_type": {"authorization_code"}, "code": {back.Query().Get("code")}, "redirect_uri": {callback}, "client_id": {app}, "client_secret": {secret}, "code_verifier": {verifier},
	}
	tokens := post("/oauth2/token", code)
	who := &user{token: tokens.json(s.t, "access_token")}
	s.rec.add("the token of an application", claims(who.token))
	s.rec.add("its ID token", claims(tokens.json(s.t, "id_token")))
	s.do(who, http.MethodGet, "/oauth2/userinfo", "")
	s.do(who, http.MethodGet, "/api/v1/orders?limit=1", "")
	s.do(who, http.MethodGet, "/api/v1/me", "")
	client := url.Values{"client_id": {app}, "client_secret": {secret}}
	as := func(pairs ...string) url.Values {
		v := url.Values{"client_id": client["client_id"], "client_secret": client["client_secret"]}
		for i := 0; i < len(pairs); i += 2 {
			v.Set(pairs[i], pairs[i+1])
		}
		return v
	}
	post("/oauth2/introspect", as("token", who.token))
	post("/oauth2/token", as("grant_type", "refresh_token", "refresh_token", tokens.json(s.t, "refresh_token")))
	post("/oauth2/token", as("grant_type", "client_credentials"))
	post("/oauth2/token", as("grant_type", "authorization_code", "code", "x", "redirect_uri", "x"))
	post("/oauth2/token", url.Values{"grant_type": {"authorization_code"}, "client_id": {app}, "client_secret": {"wrong"}, "code": {"x"}, "redirect_uri": {"x"}})
	post("/oauth2/token", code) // a code that comes twice ends what it gave
	s.until(who, "/api/v1/orders?limit=1", func(a answer) bool { return a.status == http.StatusUnauthorized })
	s.do(nil, http.MethodGet, "/oauth2/logout?client_id="+app+"&post_logout_redirect_uri="+url.QueryEscape(callback)+"&state=bye", "")
	s.do(s.admin, http.MethodGet, "/api/v1/oauth-clients", "")
	s.do(s.admin, http.MethodDelete, "/api/v1/oauth-clients/"+app, "")
}

// mailed takes the codes that come by mail.
func (s *script) mailed() {
	s.do(nil, http.MethodPost, "/api/v1/password-resets", `{"email":"nobody@example.com"}`)
	s.do(nil, http.MethodPost, "/api/v1/password-resets", fmt.Sprintf(`{"email":%q}`, s.other.email))
	code := s.code(s.other.email, "reset")
	reset := fmt.Sprintf(`{"token":%q,"new_password":"staple battery horse correct"}`, code)
	s.do(nil, http.MethodPost, "/api/v1/password-resets/confirm", reset)
	s.do(nil, http.MethodPost, "/api/v1/password-resets/confirm", reset)
	s.until(s.other, "/api/v1/orders", func(a answer) bool { return a.status == http.StatusUnauthorized })
	s.do(nil, http.MethodPost, "/api/v1/email-verifications/confirm", `{"token":"`+strings.Repeat("A", 43)+`"}`)
}

var mailedCode = regexp.MustCompile(`(?m)^\s*([A-Za-z0-9_-]{43})\s*$`)

// code waits for a mail of a kind to somebody and returns what is in it.
func (s *script) code(to, kind string) string {
	content := bytes.ReplaceAll(s.letters(to, kind, 1)[0], []byte("=\r\n"), nil)
	found := mailedCode.FindSubmatch(content)
	require.NotNil(s.t, found, "%s", content)
	return string(found[1])
}

// letters waits until somebody has so many mails of a kind.
func (s *script) letters(to, kind string, n int) (all [][]byte) {
	require.True(s.t, happens(func() bool {
		all = nil
		files, err := filepath.Glob(filepath.Join(s.site.of("notification").dir, "mail", "*"+kind+"*.eml"))
		require.NoError(s.t, err)
		for _, f := range files {
			content, err := os.ReadFile(f)
			require.NoError(s.t, err)
			if bytes.Contains(content, []byte(to)) {
				all = append(all, content)
			}
		}
		return len(all) == n
	}), "not %d mails %s to %s", n, kind, to)
	return all
}

// farewell deletes an account, whose traces go in every module.
func (s *script) farewell() {
	leaver := s.register("leaver@example.com", "Leaver")
	s.topUp(leaver, 5000)
	o := s.place(leaver, s.lamp, 1)
	s.becomes(leaver, o, "confirmed")
	// An open order would be cancelled with the account, and whether the mail about it still finds an address is a matter of chance.
	s.do(leaver, http.MethodPost, "/api/v1/orders/"+o+"/cancel", "")
	s.becomes(leaver, o, "cancelled")
	s.until(leaver, "/api/v1/users/"+leaver.id+"/credit", has(`"reserved":0`))
	s.letters(leaver.email, "cancelled", 1)
	s.do(leaver, http.MethodPost, "/api/v1/me/delete", `{"password":"wrong horse battery"}`)
	s.do(leaver, http.MethodPost, "/api/v1/me/delete", fmt.Sprintf(`{"password":%q}`, password))
	s.until(leaver, "/api/v1/orders", func(a answer) bool { return a.status == http.StatusUnauthorized })
	s.until(s.admin, "/api/v1/users/"+leaver.id, func(a answer) bool { return !has("leaver@")(a) })
}
