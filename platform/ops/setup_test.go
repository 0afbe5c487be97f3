package ops_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"cleave/platform/db"
	"cleave/platform/db/dbtest"
	"cleave/platform/event"
	"cleave/platform/fault"
	"cleave/platform/module"
	"cleave/platform/moduletest"
	"cleave/platform/ops"
	"cleave/platform/saga"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

var (
	noted   = event.Define[*wrapperspb.StringValue]()
	refusal = fault.New(fault.Invalid, "broken", "this does not work yet")
)

type trip struct{ ID string }

// world is a process with the module shop: its handler and its saga work once they are mended.
type world struct {
	host   *module.Host
	env    *module.Env
	issuer *moduletest.Issuer
	trips  *saga.Saga[trip]
	mended atomic.Bool
}

func (w *world) works() error {
	if w.mended.Load() {
		return nil
	}
	return refusal
}

func (w *world) spec() module.Spec {
	files := fstest.MapFS{}
	for _, dialect := range []string{"sqlite", "postgres"} {
		files[dialect+"/00001_effects.sql"] = &fstest.MapFile{Data: []byte("-- +goose Up\nCREATE TABLE effects (text text NOT NULL);\n-- +goose Down\nDROP TABLE effects;\n")}
	}
	return module.Spec{
		Name: "shop", Publishes: []event.Type{noted}, Subscribes: []event.Type{noted}, Migrations: files,
		Wire: func(env *module.Env) (module.Parts, error) {
			w.env = env
			w.trips = saga.Register(env.Sagas, saga.Definition[trip]{Name: "trip", Steps: []saga.Step[trip]{
				{Name: "book", Do: func(context.Context, *trip) error { return nil }, Undo: func(context.Context, *trip) error { return w.works() }},
				{Name: "pay", Do: func(context.Context, *trip) error { return fault.New(fault.Conflict, "poor", "no money") }},
			}})
			note := event.On(noted, "note", func(ctx context.Context, _ event.Meta, m *wrapperspb.StringValue) error {
				if err := w.works(); err != nil {
					return err
				}
				return env.DB.Queue(ctx).Exec("INSERT INTO effects (text) VALUES (?)", m.GetValue()).Error
			})
			return module.Parts{Handlers: []event.Handler{note}, Keys: w.issuer}, nil
		},
	}
}

func setup(t *testing.T, c db.Config) *world {
	t.Helper()
	w := &world{}
	spec := w.spec()
	cfg := moduletest.Config(t, c, spec)
	w.issuer = moduletest.NewIssuer(t, cfg, ops.Name)
	w.host = moduletest.Start(t, cfg, spec)
	return w
}

func each(t *testing.T, fn func(t *testing.T, w *world)) {
	t.Helper()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		t.Parallel()
		fn(t, setup(t, c))
	})
}

// dead publishes events and waits until all are dead letters; without texts it waits for none.
func (w *world) dead(t *testing.T, texts ...string) []event.DeadLetter {
	t.Helper()
	for _, text := range texts {
		require.NoError(t, w.env.DB.Tx(t.Context(), func(ctx context.Context) error {
			return w.env.Events.Publish(ctx, "key-"+text, wrapperspb.String(text))
		}))
	}
	var letters []event.DeadLetter
	require.Eventually(t, func() bool {
		var err error
		letters, err = event.ListDead(t.Context(), w.env.DB, event.DeadFilter{})
		require.NoError(t, err)
		return len(letters) >= len(texts)
	}, 20*time.Second, 10*time.Millisecond)
	return letters
}

func (w *world) effects(t *testing.T) (texts []string) {
	t.Helper()
	require.NoError(t, w.env.DB.Conn(t.Context()).Raw("SELECT text FROM effects ORDER BY text").Scan(&texts).Error)
	return texts
}

// failed starts a saga and waits until its compensation has failed.
func (w *world) failed(t *testing.T, id string) {
	t.Helper()
	require.NoError(t, w.env.DB.Tx(t.Context(), func(ctx context.Context) error { return w.trips.Start(ctx, id, trip{ID: id}) }))
	w.state(t, id, saga.CompensationFailed)
}

func (w *world) state(t *testing.T, id string, want saga.State) {
	t.Helper()
	require.Eventually(t, func() bool {
		d, err := saga.Show(t.Context(), w.env.DB, "trip", id)
		require.NoError(t, err)
		return d.State == want
	}, 20*time.Second, 10*time.Millisecond)
}

// caller is somebody with roles; without any it is nobody.
type caller struct {
	*world
	token string
}

func (w *world) as(t *testing.T, roles ...string) caller {
	t.Helper()
	if len(roles) == 0 {
		return caller{world: w}
	}
	return caller{w, w.issuer.Token(t, "somebody", roles...)}
}

type reply struct {
	status   int
	body     []byte
	replayed bool
}

const base = "/api/v1/admin/modules/shop"

// send sends body as JSON, unless it is nil; a path without a slash at its start is below base.
func (c caller) send(t *testing.T, method, path string, body any, headers ...string) reply {
	t.Helper()
	if path[0] != '/' {
		path = base + "/" + path
	}
	var in io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		require.NoError(t, err)
		in = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(t.Context(), method, c.host.URL()+path, in)
	require.NoError(t, err)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return reply{resp.StatusCode, text, resp.Header.Get("Idempotency-Replayed") == "true"}
}

func ok[T any](t *testing.T, r reply) (v T) {
	t.Helper()
	require.Equal(t, http.StatusOK, r.status, "%s", r.body)
	require.NoError(t, json.Unmarshal(r.body, &v))
	return v
}

func refused(t *testing.T, r reply, status int, code string) {
	t.Helper()
	var p struct{ Code string }
	require.NoError(t, json.Unmarshal(r.body, &p), "%s", r.body)
	require.Equal(t, fmt.Sprint(status, " ", code), fmt.Sprint(r.status, " ", p.Code), "%s", r.body)
}

type object = map[string]any
