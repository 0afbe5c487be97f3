// Package sagatest holds what every engine must do with a saga's definition, as
// one table of behaviours that runs on each of them.
package sagatest

import (
	"context"
	"fmt"
	"io/fs"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"cleave/platform/db"
	"cleave/platform/fault"
	"cleave/platform/saga"
)

// Trip is the state of the saga under test. Log grows with every step.
type Trip struct {
	ID  string   `json:"id"`
	Log []string `json:"log"`
}

// Outcome is how a saga ended.
type Outcome struct {
	State saga.State
	Data  []byte
	Cause string // code of the fault that turned it round; empty if nothing did
}

// Engine runs a definition from its start with the given state until its end.
// Its local steps run in transactions of db.
type Engine struct {
	DB  *db.DB
	Run func(t *testing.T, d saga.Definition[Trip], id string, state []byte) Outcome
}

// Migrations make the table in which local steps have their effect.
func Migrations() fs.FS {
	const table = "-- +goose Up\nCREATE TABLE marks (n %s, what text NOT NULL);\n"
	return fstest.MapFS{
		"sqlite/00001_marks.sql":   {Data: fmt.Appendf(nil, table, "INTEGER PRIMARY KEY AUTOINCREMENT")},
		"postgres/00001_marks.sql": {Data: fmt.Appendf(nil, table, "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY")},
	}
}

// behaviour is one row of the table. The saga has the steps book, pay (remote)
// and confirm (local), and deliver (remote, retriable) if that is wanted.
type behaviour struct {
	name    string
	faults  map[string][]func(ctx context.Context) error // of the first, second … attempt at "do book", "undo pay" …; the last one stays
	timeout time.Duration                                // of the saga
	deliver bool
	state   saga.State
	cause   string
	calls   []string // nil: not compared, because time decides
	marks   []string
}

var (
	refused = fault.New(fault.Conflict, "refused", "no")
	down    = fault.New(fault.Unavailable, "down", "not now")
)

func fails(errs ...error) (all []func(context.Context) error) {
	for _, err := range errs {
		all = append(all, func(context.Context) error { return err })
	}
	return all
}

func panics(context.Context) error { panic("boom") }

func hangs(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

var behaviours = []behaviour{
	{
		name: "Completes", state: saga.Completed,
		calls: []string{"do book", "do pay", "do confirm"}, marks: []string{"do confirm"},
	},
	{
		name: "PastReturn", deliver: true, state: saga.Completed,
		calls: []string{"do book", "do pay", "do confirm", "do deliver"}, marks: []string{"do confirm"},
	},
	{
		name: "FirstStepRefused", faults: map[string][]func(context.Context) error{"do book": fails(refused)},
		state: saga.Compensated, cause: "refused",
		calls: []string{"do book", "failed refused"}, marks: []string{"failed refused"},
	},
	{
		name: "SecondStepRefused", faults: map[string][]func(context.Context) error{"do pay": fails(refused)},
		state: saga.Compensated, cause: "refused",
		calls: []string{"do book", "do pay", "undo book", "failed refused"}, marks: []string{"failed refused"},
	},
	{
		name: "LocalStepRefused", faults: map[string][]func(context.Context) error{"do confirm": fails(refused)},
		state: saga.Compensated, cause: "refused",
		calls: []string{"do book", "do pay", "do confirm", "undo pay", "undo book", "failed refused"}, marks: []string{"failed refused"},
	},
	{
		name: "TemporaryFaultRetried", faults: map[string][]func(context.Context) error{"do pay": fails(down, down, nil)},
		state: saga.Completed,
		calls: []string{"do book", "do pay", "do pay", "do pay", "do confirm"}, marks: []string{"do confirm"},
	},
	{
		name: "LocalStepRetried", faults: map[string][]func(context.Context) error{"do confirm": fails(down, nil)},
		state: saga.Completed,
		calls: []string{"do book", "do pay", "do confirm", "do confirm"}, marks: []string{"do confirm"},
	},
	{
		name: "OutcomeUnknownIsUndoneToo", faults: map[string][]func(context.Context) error{"do pay": fails(down)},
		state: saga.Compensated, cause: "down",
		calls: []string{"do book", "do pay", "do pay", "do pay", "undo pay", "undo book", "failed down"}, marks: []string{"failed down"},
	},
	{
		name: "PanicRetried", faults: map[string][]func(context.Context) error{"do book": {panics, panics, fails(nil)[0]}},
		state: saga.Completed,
		calls: []string{"do book", "do book", "do book", "do pay", "do confirm"}, marks: []string{"do confirm"},
	},
	{
		name: "LocalStepPanics", faults: map[string][]func(context.Context) error{"do confirm": {panics}},
		state: saga.Compensated, cause: "internal",
		calls: []string{"do book", "do pay", "do confirm", "do confirm", "do confirm", "undo pay", "undo book", "failed internal"},
		marks: []string{"failed internal"},
	},
	{
		name: "TimeOut", faults: map[string][]func(context.Context) error{"do pay": {hangs}},
		state: saga.Compensated, cause: "timeout",
		calls: []string{"do book", "do pay", "do pay", "do pay", "undo pay", "undo book", "failed timeout"}, marks: []string{"failed timeout"},
	},
	{
		name: "SagaTimesOut", faults: map[string][]func(context.Context) error{"do pay": {hangs}}, timeout: 150 * time.Millisecond,
		state: saga.Compensated, cause: "saga_timeout", marks: []string{"failed saga_timeout"},
	},
	{
		name: "CompensationRetried", faults: map[string][]func(context.Context) error{"do pay": fails(refused), "undo book": fails(down, down, nil)},
		state: saga.Compensated, cause: "refused",
		calls: []string{"do book", "do pay", "undo book", "undo book", "undo book", "failed refused"}, marks: []string{"failed refused"},
	},
	{
		name: "CompensationRefused", faults: map[string][]func(context.Context) error{"do confirm": fails(refused), "undo pay": fails(refused)},
		state: saga.CompensationFailed, cause: "refused",
		calls: []string{"do book", "do pay", "do confirm", "undo pay"},
	},
	{
		name: "CompensationGivenUp", faults: map[string][]func(context.Context) error{"do pay": fails(refused), "undo book": fails(down)},
		state: saga.CompensationFailed, cause: "refused",
		calls: []string{"do book", "do pay", "undo book", "undo book", "undo book", "undo book"},
	},
	{
		name: "EndRefused", faults: map[string][]func(context.Context) error{"do book": fails(refused), "failed refused": fails(refused)},
		state: saga.CompensationFailed, cause: "refused",
		calls: []string{"do book", "failed refused"},
	},
	{
		name: "EndRetried", faults: map[string][]func(context.Context) error{"do book": fails(refused), "failed refused": fails(down, nil)},
		state: saga.Compensated, cause: "refused",
		calls: []string{"do book", "failed refused", "failed refused"}, marks: []string{"failed refused"},
	},
	{
		name: "PastReturnRefused", deliver: true, faults: map[string][]func(context.Context) error{"do deliver": fails(refused)},
		state: saga.CompensationFailed,
		calls: []string{"do book", "do pay", "do confirm", "do deliver"}, marks: []string{"do confirm"},
	},
	{
		name: "PastReturnRetried", deliver: true,
		faults: map[string][]func(context.Context) error{"do deliver": fails(down, down, down, down, nil)},
		state:  saga.Completed,
		calls:  []string{"do book", "do pay", "do confirm", "do deliver", "do deliver", "do deliver", "do deliver", "do deliver"},
		marks:  []string{"do confirm"},
	},
}

// Exercise runs each behaviour as a subtest; engine makes an engine with an empty database.
func Exercise(t *testing.T, engine func(t *testing.T) Engine) {
	t.Helper()
	for _, b := range behaviours {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			e := engine(t)
			w := &world{b: b, db: e.DB, attempts: map[string]int{}}
			// A newer program may have put more into the state than this one knows.
			out := e.Run(t, w.definition(), "t1", []byte(`{"id":"t1","log":null,"newer":{"x":1}}`))
			require.Equal(t, b.state, out.State)
			require.Equal(t, b.cause, out.Cause)
			if b.calls != nil {
				require.Equal(t, b.calls, w.calls)
			}
			var marks []string
			require.NoError(t, e.DB.Conn(t.Context()).Raw("SELECT what FROM marks ORDER BY n").Scan(&marks).Error)
			require.Equal(t, b.marks, marks, "a local step has its effect once, or none when it failed")
			require.Contains(t, string(out.Data), `"newer":{"x":1}`)
			for _, done := range b.marks {
				require.Contains(t, string(out.Data), done, "the state holds what the steps wrote")
			}
		})
	}
}

// world is one saga and what it did.
type world struct {
	b  behaviour
	db *db.DB

	mu       sync.Mutex
	calls    []string
	attempts map[string]int
}

func (w *world) act(ctx context.Context, s *Trip, what string, local bool) error {
	w.mu.Lock()
	w.calls = append(w.calls, what)
	n := w.attempts[what]
	w.attempts[what]++
	w.mu.Unlock()
	if db.InTx(ctx) != local {
		return fault.New(fault.Invalid, "wrong_place", "%s runs in a transaction: %t", what, !local)
	}
	if local {
		if err := w.db.Queue(ctx).Exec("INSERT INTO marks (what) VALUES (?)", what).Error; err != nil {
			return err
		}
	}
	if faults := w.b.faults[what]; len(faults) > 0 {
		if err := faults[min(n, len(faults)-1)](ctx); err != nil {
			return err
		}
	}
	s.Log = append(s.Log, what)
	return nil
}

func (w *world) step(name string, local bool) saga.Step[Trip] {
	return saga.Step[Trip]{
		Name: name, Local: local,
		Do:        func(ctx context.Context, s *Trip) error { return w.act(ctx, s, "do "+name, local) },
		Undo:      func(ctx context.Context, s *Trip) error { return w.act(ctx, s, "undo "+name, local) },
		Retry:     saga.RetryPolicy{Attempts: 3, Min: time.Millisecond, Max: 2 * time.Millisecond, Timeout: 40 * time.Millisecond},
		UndoRetry: saga.RetryPolicy{Attempts: 4, Min: time.Millisecond, Max: 2 * time.Millisecond},
	}
}

func (w *world) definition() saga.Definition[Trip] {
	d := saga.Definition[Trip]{
		Name: "trip", Timeout: w.b.timeout,
		Steps: []saga.Step[Trip]{w.step("book", false), w.step("pay", false), w.step("confirm", true)},
		Failed: func(ctx context.Context, s *Trip, cause *fault.Error) error {
			return w.act(ctx, s, "failed "+cause.Code, true)
		},
	}
	for i := range d.Steps {
		if w.b.faults["do "+d.Steps[i].Name] == nil || w.b.timeout > 0 {
			d.Steps[i].Retry.Timeout = time.Minute // however busy the machine is
		}
		if w.b.timeout > 0 {
			d.Steps[i].Retry.Attempts = -1
		}
	}
	if w.b.deliver {
		deliver := w.step("deliver", false)
		deliver.Retriable, deliver.Undo, deliver.Retry = true, nil, saga.RetryPolicy{Min: time.Millisecond, Max: time.Millisecond}
		d.Steps = append(d.Steps, deliver)
	}
	return d
}
