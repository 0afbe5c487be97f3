package security_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cleave/platform/config"
	"cleave/platform/db"
	"cleave/platform/db/dbtest"
	"cleave/platform/module"
	"cleave/platform/moduletest"
)

var matrixPostgres = flag.Bool("postgres", false, "run the authorisation matrix on Postgres as well")

// TestMatrix asks for every operation as every actor (OWASP API1, API3 and API5; ASVS 5.0 8.2.1, 8.2.2, 8.2.3, 8.3.1). What each may
// do is computed from the documents and the policy files by evaluate, which shares no code with the platform.
func TestMatrix(t *testing.T) {
	t.Parallel()
	run := func(t *testing.T, c db.Config) {
		s := newScene(t, moduletest.Config(t, c, specs...))
		asked := 0
		for _, op := range s.operations {
			f, ok := s.fixtures()[op.id]
			require.True(t, ok, "the operation %s has no fixture: add one", op.id)
			for _, actor := range []string{"anonymous", "other", "owner", "support", "admin", "disabled", "expired"} {
				asked++
				t.Run(op.id+"/"+actor, func(t *testing.T) { s.ask(t, op, f, actor) })
			}
			if op.body {
				asked++
				t.Run(op.id+"/MassAssignment", func(t *testing.T) { s.assign(t, op, f) })
			}
		}
		t.Logf("%d operations, %d requests", len(s.operations), asked)
	}
	t.Run("sqlite", func(t *testing.T) { run(t, dbtest.SQLite(t)) })
	if *matrixPostgres {
		t.Run("postgres", func(t *testing.T) { run(t, dbtest.Postgres(t)) })
	}
}

// fixture makes the request of an operation, about something of the owner's where it is about something.
type fixture struct {
	params map[string]string // path parameters
	query  string
	body   any
	other  int   // the answer to who may touch only their own, about the owner's thing; 0: as to the owner
	others bool  // the same to everyone but the owner, whatever they may do
	ok     []int // answers that come from behind authorisation; empty: any below 300
	spare  bool  // the request ends the caller's session or changes their account
}

// scene is a shop in which everyone has something.
type scene struct {
	*site
	operations []operation
	policy     rules
	people     map[string]person
	roles      map[string][]string
	product    string
	order      string
	cancelled  string
	letter     string
	session    string // another one of the owner's
	rows       string // a rule of run time
}

func newScene(t *testing.T, cfg *config.Config) *scene {
	t.Helper()
	cfg.HTTP.RequestTimeout = time.Minute
	var behind atomic.Int64
	now := func() time.Time { return time.Now().Add(-time.Duration(behind.Load())) }
	h, err := module.NewHost(cfg, module.Options{Version: "test", Exact: true, Now: now}, specs...)
	require.NoError(t, err)
	behind.Store(int64(2 * cfg.Auth.AccessTTL))
	require.NoError(t, h.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, h.Stop(context.Background())) })
	s := &scene{site: &site{url: h.URL(), cfg: cfg, host: h, names: new(atomic.Int64)}, roles: map[string][]string{
		"other": {"customer"}, "owner": {"customer"}, "support": {"support"}, "admin": {"admin"},
	}}
	s.operations, s.policy = readDocuments(t)
	s.people = map[string]person{"expired": s.customer(t)}
	behind.Store(0)
	s.people["admin"] = s.admin(t)
	for _, name := range []string{"owner", "other", "support", "disabled"} {
		s.people[name] = s.newPerson(t, s.roles[name])
	}
	s.must(t, "POST", "/api/v1/users/"+s.people["disabled"].id+"/disable", nil)
	require.Eventually(t, func() bool { return s.call(t, "GET", "/api/v1/me", s.people["disabled"].access, nil).status == 401 }, 20*time.Second, 10*time.Millisecond)
	s.product = s.must(t, "POST", "/api/v1/products", object{
		"sku": "LAMP-1", "name": "Lamp", "price": object{"minor_units": 100, "currency": "EUR"}, "stock": 1000,
	})["id"].(string)
	s.must(t, "POST", "/api/v1/users/"+s.people["owner"].id+"/credit/top-ups", object{"amount": object{"minor_units": 100000, "currency": "EUR"}})
	s.order, s.cancelled = s.place(t), s.place(t)
	s.session = s.sessionOf(t, s.logIn(t, s.people["owner"].email))
	require.Eventually(t, func() bool {
		items := s.call(t, "GET", "/api/v1/notifications", s.people["owner"].access, nil).json(t)["items"].([]any)
		if len(items) > 0 {
			s.letter = items[0].(map[string]any)["id"].(string)
		}
		return len(items) > 0
	}, 30*time.Second, 20*time.Millisecond, "the owner is told of the order")
	s.rows = s.must(t, "POST", "/api/v1/admin/modules/order/policies", object{"role": "guest", "permission": "order:read", "scope": "own", "effect": "allow"})["id"].(string)
	return s
}

type object = map[string]any

// must is a request of the administrator's that has to succeed.
func (s *scene) must(t *testing.T, method, path string, body any) object {
	t.Helper()
	r := s.call(t, method, path, s.people["admin"].access, body)
	require.Less(t, r.status, 300, "%s %s: %s", method, path, r.body)
	return r.json(t)
}

func (s *scene) place(t *testing.T) string {
	t.Helper()
	r := s.call(t, "POST", "/api/v1/orders", s.people["owner"].access, s.lines())
	require.Equal(t, 201, r.status, "%s", r.body)
	return r.json(t)["id"].(string)
}

func (s *scene) lines() object {
	return object{"lines": []object{{"product_id": s.product, "quantity": 1}}}
}

func (s *scene) sessionOf(t *testing.T, p person) string {
	t.Helper()
	for _, v := range s.call(t, "GET", "/api/v1/me/sessions", p.access, nil).json(t)["items"].([]any) {
		if session := v.(map[string]any); session["current"] == true {
			return session["id"].(string)
		}
	}
	t.Fatal("the current session is not listed")
	return ""
}

// newPerson is a user whose roles are these.
func (s *scene) newPerson(t *testing.T, roles []string) person {
	t.Helper()
	p := s.customer(t)
	if len(roles) == 0 || slices.Equal(roles, []string{"customer"}) {
		return p
	}
	r := s.setRoles(t, s.people["admin"].access, p.id, roles...)
	require.Equal(t, http.StatusOK, r.status, "%s", r.body)
	return s.logIn(t, p.email)
}

func (s *scene) ask(t *testing.T, op operation, f fixture, actor string) {
	t.Helper()
	p := s.people[actor]
	if f.spare && s.roles[actor] != nil {
		p = s.newPerson(t, s.roles[actor])
	}
	status, code := s.send(t, op, f, p.access, f.body)
	allowed := slices.Contains(f.ok, int(status)) || len(f.ok) == 0 && status < 300
	if op.permission == "public" {
		require.True(t, allowed, "%d %s", status, code)
		return
	}
	scope := s.policy.evaluate(s.roles[actor], op.permission)
	if op.owner == "self" && scope == "any" {
		scope = "own"
	}
	subject, byPath := strings.CutPrefix(op.owner, "path:")
	switch {
	case actor == "anonymous":
		require.Equal(t, "401 token_missing", status.with(code))
	case actor == "disabled":
		require.Equal(t, "401 token_revoked", status.with(code))
	case actor == "expired":
		require.Equal(t, "401 token_expired", status.with(code))
	case scope == "":
		require.Equal(t, "403 permission_denied", status.with(code))
	case scope == "own" && (op.owner == "none" || byPath && f.params[subject] != p.id):
		require.Equal(t, "403 not_owner", status.with(code))
	case f.other != 0 && actor != "owner" && (scope == "own" || f.others):
		require.EqualValues(t, f.other, status, code)
	default:
		require.True(t, allowed, "%d %s", status, code)
	}
}

// assign sends a field that the schema does not have (API3: mass assignment).
func (s *scene) assign(t *testing.T, op operation, f fixture) {
	t.Helper()
	body := object{"is_admin": true, "owner_id": s.people["other"].id}
	text, err := json.Marshal(f.body)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &body))
	status, code := s.send(t, op, f, s.people["admin"].access, body)
	require.Equal(t, "400 invalid", status.with(code))
}

type statusCode int

func (s statusCode) with(code string) string {
	text, _ := json.Marshal(int(s))
	return string(text) + " " + code
}

func (s *scene) send(t *testing.T, op operation, f fixture, token string, body any) (statusCode, string) {
	t.Helper()
	path := op.path
	for name, value := range f.params {
		path = strings.ReplaceAll(path, "{"+name+"}", value)
	}
	require.NotContains(t, path, "{", "the fixture lacks a path parameter")
	var reader io.Reader = http.NoBody
	if body != nil {
		text, err := json.Marshal(body)
		require.NoError(t, err)
		reader = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(t.Context(), op.method, s.url+path+f.query, reader)
	require.NoError(t, err)
	req.Header.Set("If-Match", `"1"`)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { require.NoError(t, resp.Body.Close()) }()
	r := reply{status: resp.StatusCode}
	if resp.Header.Get("Content-Type") != "text/event-stream" {
		r.body, err = io.ReadAll(resp.Body)
		require.NoError(t, err)
	}
	return statusCode(resp.StatusCode), r.code()
}

func (s *scene) email() string { return uuid.NewString() + "@example.com" }
