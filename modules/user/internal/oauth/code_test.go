package oauth_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cleave/modules/user/internal/app"
	"cleave/platform/auth"
)

func TestCode(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		status, body := f.token(t, f.code(t))
		require.Equal(t, http.StatusOK, status, body)
		c := claims(t, body)
		require.Equal(t, f.user.ID, c["sub"])
		require.Equal(t, "n", c["nonce"])
		require.Equal(t, []any{"pwd"}, c["amr"])
		require.Equal(t, f.client.ID, c["aud"])
	})
}

// TestCode_Replayed gives a code twice: what it gave the first time ends (RFC 9700 section 2.1.1).
func TestCode_Replayed(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		other, code := f.code(t), f.code(t)
		_, first := f.token(t, code)
		_, untouched := f.token(t, other)
		status, body := f.token(t, code)
		require.Equal(t, http.StatusBadRequest, status)
		require.Equal(t, "invalid_grant", body["error"])

		refresh := func(body map[string]any) (int, any) {
			status, got := f.token(t, "", "grant_type", "refresh_token", "refresh_token", body["refresh_token"].(string), "code", "", "redirect_uri", "", "code_verifier", "")
			return status, got["error"]
		}
		status, failure := refresh(first)
		require.Equal(t, http.StatusBadRequest, status)
		require.Equal(t, "invalid_grant", failure)
		status, _ = refresh(untouched)
		require.Equal(t, http.StatusOK, status, "another code's session goes on")
		var revoked int
		require.NoError(t, f.DB.Conn(t.Context()).Raw("SELECT count(*) FROM sessions WHERE revoked_at <> 0").Scan(&revoked).Error)
		require.Equal(t, 1, revoked)
	})
}

func TestCode_Refused(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		staff := auth.With(t.Context(), auth.Principal{Subject: "staff"})
		other, otherSecret, err := f.CreateClient(staff, app.NewClient{
			Name: "Other", RedirectURIs: []string{callback}, Grants: []string{app.GrantCode}, Scopes: []string{"openid"},
		})
		require.NoError(t, err)
		for name, tc := range map[string]struct {
			changes []string
			status  int
			want    string
		}{
			"WrongVerifier":   {[]string{"code_verifier", strings.Repeat("x", 43)}, 400, "invalid_grant"},
			"NoVerifier":      {[]string{"code_verifier", ""}, 400, "invalid_grant"},
			"Challenge":       {[]string{"code_verifier", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"}, 400, "invalid_grant"},
			"OtherRedirect":   {[]string{"redirect_uri", callback + "/more"}, 400, "invalid_grant"},
			"OtherClient":     {[]string{"client_id", other.ID, "client_secret", otherSecret}, 400, "invalid_grant"},
			"WrongSecret":     {[]string{"client_secret", "wrong"}, 401, "invalid_client"},
			"NoSecret":        {[]string{"client_secret", ""}, 401, "invalid_client"},
			"HashAsSecret":    {[]string{"client_secret", f.client.SecretHash}, 401, "invalid_client"},
			"UnknownClient":   {[]string{"client_id", "nobody"}, 401, "invalid_client"},
			"OthersSecret":    {[]string{"client_secret", otherSecret}, 401, "invalid_client"},
			"ClientAssertion": {[]string{"client_secret", "", "client_assertion", "e30.e30.", "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, 401, "invalid_client"},
		} {
			t.Run(name, func(t *testing.T) {
				code := f.code(t)
				status, body := f.token(t, code, tc.changes...)
				require.Equal(t, tc.want, body["error"], body)
				require.Equal(t, tc.status, status)
				status, body = f.token(t, code)
				if tc.want == "invalid_grant" {
					require.Equal(t, "invalid_grant", body["error"], "one that came in the wrong hands is used up")
				} else {
					require.Equal(t, http.StatusOK, status, body)
				}
			})
		}
		t.Run("Expired", func(t *testing.T) {
			code := f.code(t)
			f.clock.Add(int64(time.Minute))
			_, body := f.token(t, code)
			require.Equal(t, "invalid_grant", body["error"])
		})
	})
}

func TestAuthorize_Refused(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		for name, changes := range map[string][]string{
			"PlainPKCE": {"code_challenge_method", "plain", "code_challenge", verifier},
			"NoMethod":  {"code_challenge_method", ""},
			"NoPKCE":    {"code_challenge", "", "code_challenge_method", ""},
		} {
			back := f.authorize(t, changes...).location(t)
			require.Equal(t, "127.0.0.1:8123", back.Host, name)
			require.Equal(t, "invalid_request", back.Query().Get("error"), name)
			require.Empty(t, back.Query().Get("code"))
		}
		for name, changes := range map[string][]string{
			"OtherRedirect": {"redirect_uri", "http://127.0.0.1:8123/callback/more"},
			"OtherHost":     {"redirect_uri", "https://attacker.example/callback"},
			"Prefix":        {"redirect_uri", callback + "?x=1"},
			"NoRedirect":    {"redirect_uri", ""},
			"UnknownClient": {"client_id", "nobody"},
		} {
			a := f.authorize(t, changes...)
			require.GreaterOrEqual(t, a.StatusCode, 400, name)
			require.Empty(t, a.Header.Get("Location"), name)
		}
	})
}

// TestClientAuthentication uses the header, which has its own encoding (RFC 6749 section 2.3.1).
func TestClientAuthentication(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		_, body := f.token(t, f.code(t))
		ask := func(id, secret string) answer {
			return f.send(t, "/oauth2/introspect", url.Values{"token": {body["access_token"].(string)}}, func(r *http.Request) {
				r.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(id)+":"+url.QueryEscape(secret))))
			})
		}
		require.Contains(t, ask(f.client.ID, f.secret).body, `"active":true`)
		for _, a := range []answer{ask(f.client.ID, "wrong"), ask(f.client.ID, f.client.SecretHash), ask("nobody", f.secret)} {
			require.Equal(t, http.StatusUnauthorized, a.StatusCode, a.body)
			require.NotContains(t, a.body, "active")
		}
	})
}
