package security_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"cleave/platform/config"
	"cleave/platform/moduletest"
	"cleave/platform/nettest"
)

// npm installs what the tests need of Node. Where there is no npm it returns false; on CI that fails the test.
func npm(t *testing.T) bool {
	t.Helper()
	path, err := exec.LookPath("npm")
	if err != nil {
		require.NotEqual(t, "true", os.Getenv("CI"), "npm is missing: install Node.js 20 or later")
		t.Log("NOT TESTED: npm is missing, so no foreign client or provider can be run; install Node.js 20 or later")
		return false
	}
	require.NoError(t, installed(path))
	return true
}

var (
	install    sync.Once // two at once would each remove what the other one brings
	installErr error
)

func installed(npm string) error {
	install.Do(func() {
		if _, err := os.Stat("node/node_modules/openid-client"); err == nil {
			return
		}
		cmd := exec.Command(npm, "ci", "--silent", "--prefer-offline")
		cmd.Dir = "node"
		if out, err := cmd.CombinedOutput(); err != nil {
			installErr = fmt.Errorf("npm ci: %w: %s", err, out)
		}
	})
	return installErr
}

func provider(t *testing.T, cfg *config.Config) *site {
	t.Helper()
	cfg.HTTP.RequestTimeout = time.Minute
	cfg.HTTP.Addr = nettest.FreeAddress(t)
	cfg.Auth.Issuer = "http://" + cfg.HTTP.Addr
	return start(t, cfg)
}

const callback = "http://127.0.0.1:8123/callback"

// client registers one and returns its id and secret.
func (s *site) client(t *testing.T, admin person, v map[string]any) (id, secret string) {
	t.Helper()
	r := s.call(t, http.MethodPost, "/api/v1/oauth-clients", admin.access, v)
	require.Equal(t, http.StatusCreated, r.status, "%s", r.body)
	body := r.json(t)
	secret, _ = body["client_secret"].(string)
	return body["client"].(map[string]any)["client_id"].(string), secret
}

// TestOpenIDClient has openid-client, which is not ours and strict, go through every flow.
func TestOpenIDClient(t *testing.T) {
	t.Parallel()
	if !npm(t) {
		return
	}
	moduletest.Each(t, specs, func(t *testing.T, cfg *config.Config) {
		t.Parallel()
		s := provider(t, cfg)
		root, me := s.admin(t), s.customer(t)
		app, secret := s.client(t, root, map[string]any{
			"name": "Shop front", "grants": []string{"authorization_code", "refresh_token"}, "redirect_uris": []string{callback},
			"post_logout_uris": []string{callback}, "scopes": []string{"openid", "profile", "email", "offline_access", "order"},
		})
		service, serviceSecret := s.client(t, root, map[string]any{
			"name": "Robot", "grants": []string{"client_credentials", "urn:ietf:params:oauth:grant-type:token-exchange"},
			"scopes": []string{"order", "user"}, "roles": []string{"customer"},
		})
		cmd := exec.CommandContext(t.Context(), "node", "client.mjs", s.cfg.Auth.Issuer, app, secret, service, serviceSecret, callback)
		cmd.Dir = "node"
		cmd.Env = append(os.Environ(), "EMAIL="+me.email, "PASSWORD="+password)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		text, err := cmd.Output()
		require.NoError(t, err, "%s", stderr.String())
		var got struct {
			Access, Renewed, Exchanged, Widened, Service, CodeReplayed, AfterReplay, AfterRevocation, LoggedOut, AfterLogOut, WrongVerifier, Password string

			Claims, Userinfo, Introspection map[string]any
		}
		require.NoError(t, json.Unmarshal(text, &got), "%s", text)

		require.Equal(t, me.id, got.Claims["sub"])
		require.Equal(t, map[string]any{"sub": me.id, "name": "Ada", "email": me.email}, got.Userinfo)
		require.Equal(t, true, got.Introspection["active"])
		require.Equal(t, app, got.Introspection["client_id"])
		for name, code := range map[string]string{
			"codeReplayed": got.CodeReplayed, "afterReplay": got.AfterReplay, "afterRevocation": got.AfterRevocation, "afterLogOut": got.AfterLogOut,
			"wrongVerifier": got.WrongVerifier,
		} {
			require.Equal(t, "invalid_grant", code, name)
		}
		require.Equal(t, "invalid_scope", got.Widened)
		require.Contains(t, got.Password, "unsupported_grant_type")
		require.Equal(t, callback+"?state=bye", got.LoggedOut)

		header, claims := decode(t, got.Access)
		require.Equal(t, "at+jwt", header["typ"])
		require.ElementsMatch(t, []any{"order", s.cfg.Auth.Issuer}, claims["aud"])
		require.Equal(t, "openid profile email offline_access order", claims["scope"])
		_, claims = decode(t, got.Exchanged)
		require.Equal(t, me.id, claims["sub"])
		require.Equal(t, map[string]any{"sub": service}, claims["act"])
		require.Equal(t, []any{"order"}, claims["aud"])

		for _, token := range []string{got.Access, got.Renewed, got.Exchanged} {
			refused(t, []*site{s}, person{access: token}, "/api/v1/orders") // a replayed code revokes what it issued
			require.Equal(t, http.StatusUnauthorized, s.call(t, http.MethodGet, "/api/v1/me", token, nil).status, "not for this module")
		}
		require.Equal(t, http.StatusOK, s.call(t, http.MethodGet, "/api/v1/orders", got.Service, nil).status)
		require.Equal(t, http.StatusNoContent, s.call(t, http.MethodDelete, "/api/v1/oauth-clients/"+service, root.access, nil).status)
		refused(t, []*site{s}, person{access: got.Service}, "/api/v1/orders")
	})
}

// decode reads a token without checking it.
func decode(t *testing.T, token string) (header, claims map[string]any) {
	t.Helper()
	c := jwt.MapClaims{}
	parsed, _, err := jwt.NewParser().ParseUnverified(token, c)
	require.NoError(t, err)
	return parsed.Header, c
}

// TestAuthorizationRefused sends requests that must not reach the log-in page, or not get past it.
func TestAuthorizationRefused(t *testing.T) {
	t.Parallel()
	moduletest.Each(t, specs, func(t *testing.T, cfg *config.Config) {
		t.Parallel()
		s := provider(t, cfg)
		root := s.admin(t)
		app, secret := s.client(t, root, map[string]any{
			"name": "Shop <b>front</b>", "grants": []string{"authorization_code"}, "redirect_uris": []string{callback}, "scopes": []string{"openid", "order"},
		})
		browser := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		send := func(req *http.Request) (*http.Response, string) {
			resp, err := browser.Do(req)
			require.NoError(t, err)
			defer func() { require.NoError(t, resp.Body.Close()) }()
			var body bytes.Buffer
			_, err = body.ReadFrom(resp.Body)
			require.NoError(t, err)
			return resp, body.String()
		}
		good := url.Values{
			"client_id": {app}, "redirect_uri": {callback}, "response_type": {"code"}, "scope": {"openid"}, "state": {"s"},
			"code_challenge": {"E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"}, "code_challenge_method": {"S256"},
		}
		authorize := func(edit url.Values) (*http.Response, string) {
			q := url.Values{}
			for name, v := range good {
				q[name] = v
			}
			for name, v := range edit {
				q[name] = v
			}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/oauth2/authorize?"+q.Encode(), http.NoBody)
			require.NoError(t, err)
			return send(req)
		}
		for name, c := range map[string]struct {
			edit url.Values
			want string // the error that the client gets; "" for an answer to the browser alone
		}{
			"UnknownClient":    {url.Values{"client_id": {"x"}}, ""},
			"OtherRedirect":    {url.Values{"redirect_uri": {callback + "/more"}}, ""},
			"NoRedirect":       {url.Values{"redirect_uri": {""}}, ""},
			"Implicit":         {url.Values{"response_type": {"token"}}, "unauthorized_client"},
			"Hybrid":           {url.Values{"response_type": {"code id_token"}}, "unauthorized_client"},
			"NoPKCE":           {url.Values{"code_challenge": {""}}, "invalid_request"},
			"PlainPKCE":        {url.Values{"code_challenge_method": {"plain"}}, "invalid_request"},
			"NoPKCEMethod":     {url.Values{"code_challenge_method": {""}}, "invalid_request"},
			"Fragment":         {url.Values{"response_mode": {"fragment"}}, "invalid_request"},
			"RequestObject":    {url.Values{"request": {"eyJhbGciOiJub25lIn0.e30."}}, "request_not_supported"},
			"PromptNone":       {url.Values{"prompt": {"none"}}, "login_required"},
			"ScopeNotAllowed":  {url.Values{"scope": {"user"}}, "invalid_scope"},
			"NoScope":          {url.Values{"scope": {""}}, "invalid_scope"},
			"StateOfAnyLength": {url.Values{"state": {string(bytes.Repeat([]byte("x"), 3000))}}, "invalid_request"},
		} {
			t.Run(name, func(t *testing.T) {
				resp, body := authorize(c.edit)
				location, err := resp.Location()
				if c.want == "" {
					require.GreaterOrEqual(t, resp.StatusCode, 400, "%s", body)
					require.Error(t, err, "an unknown address gets nothing")
					return
				}
				require.NoError(t, err, "%d %s", resp.StatusCode, body)
				require.Equal(t, "127.0.0.1:8123", location.Host)
				q := location.Query()
				if location.Fragment != "" {
					q, err = url.ParseQuery(location.Fragment)
					require.NoError(t, err)
				}
				require.Equal(t, c.want, q.Get("error"), location)
			})
		}

		resp, _ := authorize(nil)
		location, err := resp.Location()
		require.NoError(t, err)
		cookie := resp.Cookies()[0]
		require.True(t, cookie.HttpOnly)
		require.Equal(t, http.SameSiteLaxMode, cookie.SameSite)
		page := func(method, path string, form url.Values, withCookie bool, headers ...string) (*http.Response, string) {
			req, err := http.NewRequestWithContext(t.Context(), method, s.url+path, bytes.NewBufferString(form.Encode()))
			require.NoError(t, err)
			if withCookie {
				req.AddCookie(cookie)
			}
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			for i := 0; i < len(headers); i += 2 {
				req.Header.Set(headers[i], headers[i+1])
			}
			return send(req)
		}
		path := location.Path + "?" + location.RawQuery
		resp, html := page(http.MethodGet, path, nil, true)
		require.Equal(t, http.StatusOK, resp.StatusCode)
		require.Contains(t, html, "Shop &lt;b&gt;front&lt;/b&gt;")
		require.Contains(t, html, `lang="en"`)
		require.NotContains(t, html, "<script")
		require.Contains(t, resp.Header.Get("Content-Security-Policy"), "default-src 'none'")
		token := regexp.MustCompile(`name="csrf" value="([^"]+)"`).FindStringSubmatch(html)[1]
		form := url.Values{"request": {location.Query().Get("request")}, "csrf": {token}, "email": {root.email}, "password": {"wrong horse"}}

		resp, _ = page(http.MethodGet, path, nil, false)
		require.Equal(t, http.StatusBadRequest, resp.StatusCode, "another browser")
		resp, _ = page(http.MethodPost, "/oauth2/login", form, true, "Sec-Fetch-Site", "cross-site")
		require.Equal(t, http.StatusForbidden, resp.StatusCode, "another site")
		forged := url.Values{"request": form["request"], "csrf": {"forged"}, "email": form["email"], "password": {password}}
		resp, _ = page(http.MethodPost, "/oauth2/login", forged, true)
		require.Equal(t, http.StatusBadRequest, resp.StatusCode, "another form")
		resp, html = page(http.MethodPost, "/oauth2/login", form, true)
		require.Equal(t, http.StatusUnauthorized, resp.StatusCode)
		require.Contains(t, html, `aria-describedby="error"`)
		require.NotContains(t, html, "wrong horse")
		form.Set("decision", "allow")
		resp, _ = page(http.MethodPost, "/oauth2/consent", form, true)
		require.Equal(t, http.StatusBadRequest, resp.StatusCode, "nobody has logged in")

		for name, c := range map[string]struct{ query, body, want string }{
			"SecretInTheURL": {"?client_id=" + app + "&client_secret=" + secret, "grant_type=authorization_code&code=x&redirect_uri=x", "invalid_request"},
			"WrongSecret":    {"", "grant_type=authorization_code&code=x&redirect_uri=x&client_id=" + app + "&client_secret=wrong", "invalid_client"},
			"NoSecret":       {"", "grant_type=authorization_code&code=x&redirect_uri=x&client_id=" + app, "invalid_client"},
			"UnknownCode":    {"", "grant_type=authorization_code&code=x&redirect_uri=x&client_id=" + app + "&client_secret=" + secret, "invalid_grant"},
			"GrantNotGiven":  {"", "grant_type=client_credentials&client_id=" + app + "&client_secret=" + secret, "unauthorized_client"},
		} {
			t.Run(name, func(t *testing.T) {
				values, err := url.ParseQuery(c.body)
				require.NoError(t, err)
				_, body := page(http.MethodPost, "/oauth2/token"+c.query, values, false)
				require.Contains(t, body, `"error":"`+c.want+`"`)
			})
		}
	})
}
