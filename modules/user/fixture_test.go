package user_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"cleave/modules/user"
	"cleave/modules/user/internal/ledgertest"
	userv1 "cleave/modules/user/v1"
	userrest "cleave/modules/user/v1/rest"
	"cleave/platform/config"
	"cleave/platform/db/dbtest"
	"cleave/platform/event"
	"cleave/platform/module"
	"cleave/platform/moduletest"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // of the OpenID Connect library
	dbtest.Main(m)
}

const secret = "correct horse"

// neighbour is another module of the process, which calls the user module and follows its events.
type neighbour struct {
	users  userv1.UserServiceClient
	events chan heard
}

type heard struct {
	meta  event.Meta
	event proto.Message
}

func (n *neighbour) spec() module.Spec {
	return module.Spec{
		Name: "order", Uses: []string{"user"},
		Subscribes: []event.Type{
			userv1.Registered, userv1.ProfileChanged, userv1.Disabled, userv1.Enabled, userv1.EmailVerificationRequested,
			userv1.PasswordResetRequested, userv1.PasswordChanged, userv1.RegistrationAttempted,
		},
		Wire: func(env *module.Env) (module.Parts, error) {
			conn, err := env.Conn("user")
			n.users = userv1.NewUserServiceClient(conn)
			return module.Parts{
				Handlers: []event.Handler{
					event.On(userv1.Registered, "registered", hear[*userv1.UserRegistered](n)),
					event.On(userv1.ProfileChanged, "profile_changed", hear[*userv1.UserProfileChanged](n)),
					event.On(userv1.Disabled, "disabled", hear[*userv1.UserDisabled](n)),
					event.On(userv1.Enabled, "enabled", hear[*userv1.UserEnabled](n)),
					event.On(userv1.EmailVerificationRequested, "verification", hear[*userv1.UserEmailVerificationRequested](n)),
					event.On(userv1.PasswordResetRequested, "reset", hear[*userv1.UserPasswordResetRequested](n)),
					event.On(userv1.PasswordChanged, "password", hear[*userv1.UserPasswordChanged](n)),
					event.On(userv1.RegistrationAttempted, "attempt", hear[*userv1.UserRegistrationAttempted](n)),
				},
			}, err
		},
	}
}

func hear[T proto.Message](n *neighbour) func(context.Context, event.Meta, T) error {
	return func(_ context.Context, m event.Meta, e T) error {
		n.events <- heard{m, e}
		return nil
	}
}

// fixture is the user module in a running host, with a neighbour.
type fixture struct {
	*neighbour
	cfg    *config.Config
	host   *module.Host
	client *userrest.ClientWithResponses
	names  atomic.Int64
}

// setup checks the ledger when the test has ended.
func setup(t *testing.T, cfg *config.Config) *fixture {
	t.Helper()
	return setupWith(t, cfg, func(specs ...module.Spec) *module.Host { return moduletest.Start(t, cfg, specs...) })
}

func setupWith(t *testing.T, cfg *config.Config, start func(...module.Spec) *module.Host) *fixture {
	t.Helper()
	f := &fixture{cfg: cfg, neighbour: &neighbour{events: make(chan heard, 1000)}}
	cfg.HTTP.RequestTimeout = time.Minute // hashing passwords takes its time on a busy machine
	f.host = start(user.Module, f.spec())
	var err error
	f.client, err = userrest.NewClientWithResponses(f.host.URL())
	require.NoError(t, err)
	t.Cleanup(func() {
		if d := f.host.DB("user"); d != nil { // nil once the test has stopped it
			ledgertest.Check(t, d)
		}
	})
	return f
}

// each runs fn on both databases.
func each(t *testing.T, fn func(t *testing.T, f *fixture)) {
	t.Helper()
	t.Parallel()
	moduletest.Each(t, []module.Spec{user.Module}, func(t *testing.T, cfg *config.Config) {
		t.Parallel()
		fn(t, setup(t, cfg))
	})
}

// person is a user who is logged in.
type person struct {
	userrest.User
	token, refresh string
}

// customer registers and logs in a new user.
func (f *fixture) customer(t *testing.T) person {
	t.Helper()
	email := fmt.Sprintf("user%d@example.com", f.names.Add(1))
	r, err := f.client.RegisterUserWithResponse(t.Context(), nil, userrest.RegisterUser{Email: email, Password: secret, DisplayName: "Ada"})
	require.NoError(t, err)
	require.NotNil(t, r.JSON201, "%s", r.Body)
	return f.login(t, *r.JSON201)
}

// admin makes the first administrator and logs them in.
func (f *fixture) admin(t *testing.T) person {
	t.Helper()
	r, err := f.client.CreateFirstAdminWithResponse(t.Context(), nil, userrest.CreateFirstAdmin{
		Token: f.firstAdminToken(t), Email: "root@example.com", Password: secret, DisplayName: "Grace",
	})
	require.NoError(t, err)
	require.NotNil(t, r.JSON201, "%s", r.Body)
	return f.login(t, *r.JSON201)
}

func (f *fixture) firstAdminToken(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(f.cfg.Data.Dir, "first-admin-token"))
	require.NoError(t, err)
	return strings.TrimSpace(string(b))
}

func (f *fixture) login(t *testing.T, u userrest.User) person {
	t.Helper()
	r, err := f.client.LogInWithResponse(t.Context(), nil, userrest.LogIn{Email: u.Email, Password: secret})
	require.NoError(t, err)
	require.NotNil(t, r.JSON201, "%s", r.Body)
	require.Equal(t, u.ID, r.JSON201.UserID)
	return person{User: u, token: r.JSON201.AccessToken, refresh: r.JSON201.RefreshToken}
}

// answer is a response with its body as JSON.
type answer struct {
	status int
	header http.Header
	body   map[string]any
}

func (a answer) code() string {
	code, _ := a.body["code"].(string)
	return code
}

// field is the first part of the request that a problem complains about.
func (a answer) field() string {
	if errs, ok := a.body["errors"].([]any); ok && len(errs) > 0 {
		return errs[0].(map[string]any)["field"].(string)
	}
	return ""
}

// do sends a request whose body is JSON text, or "" for none. Headers come in pairs; "" for the token means anonymous.
func (f *fixture) do(t *testing.T, method, path, token, body string, headers ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, f.host.URL()+path, bytes.NewReader([]byte(body)))
	require.NoError(t, err)
	if body != "" {
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
	a := answer{status: resp.StatusCode, header: resp.Header}
	if resp.StatusCode != http.StatusNoContent {
		require.NoError(t, json.NewDecoder(resp.Body).Decode(&a.body))
	}
	return a
}

// refused asserts a problem's status and code.
func (f *fixture) refused(t *testing.T, a answer, status int, code string) {
	t.Helper()
	require.Equal(t, status, a.status, "%v", a.body)
	require.Equal(t, code, a.code())
	require.Equal(t, "application/problem+json", a.header.Get("Content-Type"))
}

// next waits for the next event of the type of T.
func next[T proto.Message](t *testing.T, f *fixture) (event.Meta, T) {
	t.Helper()
	for {
		select {
		case h := <-f.events:
			if e, ok := h.event.(T); ok {
				return h.meta, e
			}
		case <-t.Context().Done():
			var zero T
			t.Fatalf("no %T", zero)
		}
	}
}
