// Package security_test attacks the modules as they run together, through real sockets: forged tokens, ended sessions, and the
// flows of OAuth with clients that are not ours.
package security_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"cleave/modules/notification"
	"cleave/modules/order"
	"cleave/modules/user"
	"cleave/platform/config"
	"cleave/platform/db/dbtest"
	"cleave/platform/module"
	"cleave/platform/moduletest"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // of the OpenID Connect library
	dbtest.Main(m)
}

const password = "correct horse"

var specs = []module.Spec{user.Module, order.Module, notification.Module}

// paths are a read in each module that any customer may do.
var paths = []string{"/api/v1/me", "/api/v1/orders", "/api/v1/notifications"}

// site is a process with all modules.
type site struct {
	url   string
	cfg   *config.Config
	host  *module.Host
	names *atomic.Int64
}

func start(t *testing.T, cfg *config.Config) *site {
	t.Helper()
	h := moduletest.Start(t, cfg, specs...)
	return &site{url: h.URL(), cfg: cfg, host: h, names: new(atomic.Int64)}
}

// replica is another process on the same databases.
func (s *site) replica(t *testing.T) *site {
	t.Helper()
	cfg := *s.cfg
	cfg.Data.Dir = t.TempDir()
	h := moduletest.Start(t, &cfg, specs...)
	return &site{url: h.URL(), cfg: &cfg, host: h, names: s.names}
}

// reply is a response with its body.
type reply struct {
	status int
	header http.Header
	body   []byte
}

func (r reply) json(t *testing.T) (v map[string]any) {
	t.Helper()
	require.NoError(t, json.Unmarshal(r.body, &v), "%s", r.body)
	return v
}

// code is the machine code of a problem.
func (r reply) code() string {
	var p struct{ Code string }
	_ = json.Unmarshal(r.body, &p)
	return p.Code
}

// call sends a request; v is the body as JSON, or nil. Headers come in pairs.
func (s *site) call(t *testing.T, method, path, token string, v any, headers ...string) reply {
	t.Helper()
	var body io.Reader = http.NoBody
	if v != nil {
		text, err := json.Marshal(v)
		require.NoError(t, err)
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, s.url+path, body)
	require.NoError(t, err)
	if v != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { require.NoError(t, resp.Body.Close()) }()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return reply{resp.StatusCode, resp.Header, text}
}

type person struct{ id, email, access, refresh string }

func (s *site) customer(t *testing.T) person {
	t.Helper()
	email := fmt.Sprintf("user%d@example.com", s.names.Add(1))
	r := s.call(t, http.MethodPost, "/api/v1/users", "", map[string]any{"email": email, "password": password, "display_name": "Ada"})
	require.Equal(t, http.StatusCreated, r.status, "%s", r.body)
	return s.logIn(t, email)
}

func (s *site) admin(t *testing.T) person {
	t.Helper()
	token, err := os.ReadFile(filepath.Join(s.cfg.Data.Dir, "first-admin-token"))
	require.NoError(t, err)
	const email = "root@example.com"
	r := s.call(t, http.MethodPost, "/api/v1/users/first-admin", "", map[string]any{
		"token": strings.TrimSpace(string(token)), "email": email, "password": password, "display_name": "Grace",
	})
	require.Equal(t, http.StatusCreated, r.status, "%s", r.body)
	return s.logIn(t, email)
}

// setRoles gives a user roles.
func (s *site) setRoles(t *testing.T, token, id string, roles ...string) reply {
	t.Helper()
	tag := s.call(t, http.MethodGet, "/api/v1/users/"+id, token, nil).header.Get("ETag")
	return s.call(t, http.MethodPut, "/api/v1/users/"+id+"/roles", token, map[string]any{"roles": roles}, "If-Match", tag)
}

func (s *site) logIn(t *testing.T, email string) person {
	t.Helper()
	r := s.call(t, http.MethodPost, "/api/v1/sessions", "", map[string]any{"email": email, "password": password})
	require.Equal(t, http.StatusCreated, r.status, "%s", r.body)
	v := r.json(t)
	return person{v["user_id"].(string), email, v["access_token"].(string), v["refresh_token"].(string)}
}
