package rest

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cleave/platform/fault"
)

func TestAccess(t *testing.T) {
	t.Parallel()
	f := setup(t)
	bearer := func(token string) []string { return []string{"Authorization", "Bearer " + token} }
	good := f.token(t, "u1", "customer")
	const note = `{"title":"a","count":1}`
	tests := map[string]struct {
		method, path, body string
		headers            []string
		status             int
		code, challenge    string
	}{
		"NoToken":           {"GET", "/api/v1/notes", "", nil, 401, "token_missing", "Bearer"},
		"Basic":             {"GET", "/api/v1/notes", "", []string{"Authorization", "Basic dTpw"}, 401, "token_missing", "Bearer"},
		"TwoHeaders":        {"GET", "/api/v1/notes", "", append(bearer(good), bearer(good)...), 401, "token_missing", "Bearer"},
		"EmptyToken":        {"GET", "/api/v1/notes", "", bearer(""), 401, "token_missing", "Bearer"},
		"Garbage":           {"GET", "/api/v1/notes", "", bearer("abc"), 401, "token_invalid", `Bearer error="invalid_token"`},
		"Altered":           {"GET", "/api/v1/notes", "", bearer(good[:len(good)-4] + "AAAA"), 401, "token_invalid", `Bearer error="invalid_token"`},
		"SchemeCase":        {"GET", "/api/v1/notes", "", []string{"Authorization", "bearer " + good}, 200, "", ""},
		"UnknownRole":       {"GET", "/api/v1/notes", "", f.as(t, "u1", "stranger"), 403, "permission_denied", ""},
		"NoRole":            {"GET", "/api/v1/notes", "", bearer(f.token(t, "u1")), 403, "permission_denied", ""},
		"SelfOwn":           {"POST", "/api/v1/notes", note, f.as(t, "u1"), 201, "", ""},
		"SelfAny":           {"POST", "/api/v1/notes", note, f.as(t, "a1", "admin"), 201, "", ""},
		"NoneOwn":           {"PATCH", "/api/v1/notes/" + noteID, "", append(f.as(t, "u1"), "If-Match", `"7"`), 403, "not_owner", ""},
		"NoneAny":           {"PATCH", "/api/v1/notes/" + noteID, "", append(f.as(t, "a1", "admin"), "If-Match", `"7"`), 204, "", ""},
		"PathOwn":           {"GET", "/api/v1/users/u1/notes", "", f.as(t, "u1"), 200, "", ""},
		"PathForeign":       {"GET", "/api/v1/users/u2/notes", "", f.as(t, "u1"), 403, "not_owner", ""},
		"PathAny":           {"GET", "/api/v1/users/u2/notes", "", f.as(t, "a1", "admin"), 200, "", ""},
		"Public":            {"POST", "/api/v1/sessions", "", nil, 200, "", ""},
		"PublicBadToken":    {"POST", "/api/v1/sessions", "", bearer("abc"), 200, "", ""},
		"BeforeValidation":  {"POST", "/api/v1/notes?x=1", "{", nil, 401, "token_missing", "Bearer"},
		"DeniedBeforeQuery": {"PATCH", "/api/v1/notes/1?x=1", "{", f.as(t, "u1"), 403, "not_owner", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := f.do(t, tt.method, tt.path, tt.body, tt.headers...)
			require.Equal(t, tt.status, r.status, r.body)
			require.Equal(t, tt.challenge, r.header.Get("WWW-Authenticate"))
			if tt.code != "" {
				require.Equal(t, tt.code, r.problem(t).Code)
			}
		})
	}

	t.Run("OwnerReachesTheUseCase", func(t *testing.T) {
		t.Parallel()
		require.JSONEq(t, `{"value":"u1"}`, f.do(t, "GET", "/api/v1/notes/"+noteID, "", f.as(t, "u1")...).body)
		require.JSONEq(t, `{"value":"anyone"}`, f.do(t, "GET", "/api/v1/notes/"+noteID, "", f.as(t, "a1", "admin")...).body)
	})
}

func TestProblems(t *testing.T) {
	t.Parallel()
	f := setup(t, func(o *Options) { o.RequestTimeout = 200 * time.Millisecond })
	user := f.as(t, "u1")
	const path = "/api/v1/notes/0197a5c2-9a41-7e10-b0c3-000000000"

	t.Run("NotFound", func(t *testing.T) {
		t.Parallel()
		r := f.do(t, "GET", path+"404", "", user...)
		p := r.problem(t)
		require.Equal(t, Problem{
			Type: "/problems/note_unknown", Title: "Not found", Status: 404, Code: "note_unknown", Instance: path + "404",
			Detail: "there is no note 0197a5c2-9a41-7e10-b0c3-000000000404 ", RequestID: r.header.Get("X-Request-Id"),
		}, p)
	})
	t.Run("InternalHidesTheCause", func(t *testing.T) {
		t.Parallel()
		r := f.do(t, "GET", path+"500", "", append(user, "X-Request-Id", "cause-500")...)
		require.Equal(t, 500, r.status)
		require.NotContains(t, r.body, "EOF")
		require.Equal(t, "internal", r.problem(t).Code)
		line := f.logLine(t, "cause-500")
		require.Equal(t, "ERROR", line["level"])
		require.Equal(t, "unexpected EOF", line["cause"])
		require.Equal(t, "u1", line["principal"])
	})
	t.Run("InternalHidesItsMessage", func(t *testing.T) {
		t.Parallel()
		r := f.do(t, "GET", path+"506", "", user...)
		require.Equal(t, "internal", r.problem(t).Code)
		require.NotContains(t, r.body, "fire")
	})
	t.Run("Panic", func(t *testing.T) {
		t.Parallel()
		r := f.do(t, "GET", path+"501", "", append(user, "X-Request-Id", "panic-501")...)
		require.Equal(t, 500, r.status, r.body)
		require.Equal(t, "internal", r.problem(t).Code)
		require.NotContains(t, r.body, "defect")
		line := f.logLine(t, "panic-501")
		require.Contains(t, line["cause"], "panic: a defect")
		require.Contains(t, line["cause"], "setup_test.go", "the stack")
	})
	t.Run("UndescribedBody", func(t *testing.T) {
		t.Parallel()
		r := f.do(t, "GET", path+"502", "", append(user, "X-Request-Id", "undescribed-502")...)
		require.Equal(t, 500, r.status)
		require.NotContains(t, r.body, "undocumented")
		require.Contains(t, f.logLine(t, "undescribed-502")["cause"], "secret")
	})
	t.Run("UndescribedStatus", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, 500, f.do(t, "GET", path+"503", "", user...).status)
	})
	t.Run("Timeout", func(t *testing.T) {
		t.Parallel()
		r := f.do(t, "GET", path+"504", "", user...)
		require.Equal(t, 503, r.status)
		require.Equal(t, "timeout", r.problem(t).Code)
		require.Equal(t, "1", r.header.Get("Retry-After"))
	})
	t.Run("NoRoute", func(t *testing.T) {
		t.Parallel()
		for _, path := range []string{"/", "/api/v1/nothing", "/api/v1/notes/", "/API/v1/notes", "/api/v1//notes"} {
			r := f.do(t, "GET", path, "", user...)
			require.Equal(t, 404, r.status, path)
			require.Equal(t, "no_such_resource", r.problem(t).Code)
		}
	})
	t.Run("NoMethod", func(t *testing.T) {
		t.Parallel()
		r := f.do(t, "DELETE", "/api/v1/notes", "", user...)
		require.Equal(t, 405, r.status)
		require.Equal(t, "method_not_allowed", r.problem(t).Code)
		require.ElementsMatch(t, []string{"GET", "POST"}, strings.Split(r.header.Get("Allow"), ", "))
	})
}

// logLine is the access line of the request with the given id.
func (f *fixture) logLine(t testing.TB, id string) map[string]any {
	t.Helper()
	var line map[string]any
	require.Eventually(t, func() bool {
		for text := range strings.SplitSeq(f.log.String(), "\n") {
			var l map[string]any
			if json.Unmarshal([]byte(text), &l) == nil && l["msg"] == "request" && l["request_id"] == id {
				line = l
				return true
			}
		}
		return false
	}, 5*time.Second, 5*time.Millisecond)
	return line
}

func TestClean(t *testing.T) {
	t.Parallel()
	require.Equal(t, "a b   c", clean("a\nb\x00\x7f\xffc", 100))
	require.Equal(t, "é", clean("éé", 3))
	require.Equal(t, "", truncate("é", 1))
}

func TestWriteProblem_EveryKind(t *testing.T) {
	t.Parallel()
	for k := fault.Internal; k <= fault.Canceled; k++ {
		require.NotZero(t, answers[k].status, k.String())
		require.NotEmpty(t, answers[k].title, k.String())
	}
	require.Len(t, answers, int(fault.Canceled)+1)
}

func TestEdge(t *testing.T) {
	t.Parallel()
	f := setup(t)

	t.Run("RequestID", func(t *testing.T) {
		t.Parallel()
		for given, kept := range map[string]bool{
			"": false, "abc-123_x.y:z": true, "a b": false, "a\tb": false, "é": false, "<x>": false,
			strings.Repeat("a", maxRequestID): true, strings.Repeat("a", maxRequestID+1): false,
		} {
			got := f.do(t, "GET", "/livez", "", "X-Request-Id", given).header.Get("X-Request-Id")
			if kept {
				require.Equal(t, given, got)
			} else {
				require.Len(t, got, 36, given)
			}
		}
	})
	t.Run("SecurityHeaders", func(t *testing.T) {
		t.Parallel()
		for _, path := range []string{"/livez", "/api/v1/notes", "/nowhere"} {
			h := f.do(t, "GET", path, "", f.as(t, "u1")...).header
			require.Equal(t, "no-store", h.Get("Cache-Control"))
			require.Equal(t, "nosniff", h.Get("X-Content-Type-Options"))
			require.Equal(t, "default-src 'none'; frame-ancestors 'none'", h.Get("Content-Security-Policy"))
		}
		require.Equal(t, []string{"no-store"}, securityHeaders[0].value, "the shared values stay as they are")
	})
	t.Run("AccessLine", func(t *testing.T) {
		t.Parallel()
		f.do(t, "GET", "/api/v1/notes/"+noteID, "", append(f.as(t, "u1"), "X-Request-Id", "line-1")...)
		line := f.logLine(t, "line-1")
		require.Equal(t, "INFO", line["level"])
		require.Equal(t, "GET", line["method"])
		require.Equal(t, "/api/v1/notes/:note_id", line["route"])
		require.EqualValues(t, 200, line["status"])
		require.EqualValues(t, len(`{"value":"u1"}`), line["bytes"])
		require.Equal(t, "u1", line["principal"])
		require.Contains(t, line, "duration")
		require.NotContains(t, f.log.String(), noteID, "paths hold ids, so only the route is logged")
	})
	t.Run("BadRequestLine", func(t *testing.T) {
		t.Parallel()
		f.do(t, "GET", "/api/v1/notes?limit=x", "", append(f.as(t, "u1"), "X-Request-Id", "line-2")...)
		line := f.logLine(t, "line-2")
		require.Equal(t, "invalid", line["code"])
		require.NotContains(t, line, "cause")
	})
}

func TestHealth(t *testing.T) {
	t.Parallel()
	ready := true
	f := setup(t, func(o *Options) {
		o.Ready = func(context.Context, bool) (bool, []Check) {
			checks := []Check{{"notes.database", nil}}
			if !ready {
				checks = append(checks, Check{"notes.mail", http.ErrServerClosed})
			}
			return ready, checks
		}
	})
	require.Equal(t, response{200, nil, "ok\n"}, withoutHeader(f.do(t, "GET", "/livez", "")))
	require.Equal(t, 200, f.do(t, "HEAD", "/livez", "").status)
	require.Equal(t, response{200, nil, "ready\n"}, withoutHeader(f.do(t, "GET", "/readyz", "")))
	require.Equal(t, response{200, nil, "[+] notes.database ok\nready\n"}, withoutHeader(f.do(t, "GET", "/readyz?verbose", "")))

	ready = false
	require.Equal(t, response{503, nil, "not ready\n"}, withoutHeader(f.do(t, "GET", "/readyz", "")))
	r := f.do(t, "GET", "/readyz?verbose", "")
	require.Equal(t, "[+] notes.database ok\n[-] notes.mail failed: internal error\nnot ready\n", r.body)
}

func withoutHeader(r response) response { r.header = nil; return r }

func TestDraining(t *testing.T) {
	t.Parallel()
	f := setup(t)
	require.Empty(t, f.do(t, "GET", "/livez", "").header.Get("Connection"))
	f.api.Draining()
	for _, path := range []string{"/livez", "/api/v1/notes", "/nowhere"} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", f.server.URL+path, nil)
		require.NoError(t, err)
		res, err := f.server.Client().Do(req)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.True(t, res.Close, path)
	}
	r := f.do(t, "GET", "/readyz?verbose", "")
	require.Equal(t, 503, r.status)
	require.Equal(t, "[-] serving failed: the process is stopping\nnot ready\n", r.body)
}

func TestDocs(t *testing.T) {
	t.Parallel()
	f := setup(t, func(o *Options) { o.Version = "9.9.9" })
	r := f.do(t, "GET", "/openapi.json", "")
	require.Equal(t, 200, r.status)
	var doc struct {
		Info  struct{ Version string }
		Paths map[string]any
	}
	require.NoError(t, json.Unmarshal([]byte(r.body), &doc))
	require.Equal(t, "9.9.9", doc.Info.Version)
	require.Contains(t, doc.Paths, "/api/v1/notes/{note_id}")

	page := f.do(t, "GET", "/docs", "")
	require.Equal(t, 200, page.status)
	require.NotContains(t, page.body, "https://", "nothing comes from elsewhere")
	require.Contains(t, page.header.Get("Content-Security-Policy"), "script-src 'self';")
	for _, asset := range []string{"/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css", "/docs/init.js"} {
		require.Contains(t, page.body, asset)
		r := f.do(t, "GET", asset, "") // the client decompresses
		require.Equal(t, 200, r.status)
		require.NotEmpty(t, r.body)
		plain := f.do(t, "GET", asset, "", "Accept-Encoding", "identity")
		require.Empty(t, plain.header.Get("Content-Encoding"))
		require.Equal(t, r.body, plain.body)
	}
}
