package saga_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cleave/platform/db"
	"cleave/platform/db/dbtest"
	"cleave/platform/fault"
	"cleave/platform/saga"
)

func marks() fs.FS {
	const table = "-- +goose Up\nCREATE TABLE marks (n %s, saga text NOT NULL, what text NOT NULL);\n"
	return fstest.MapFS{
		"sqlite/00001_marks.sql":   {Data: fmt.Appendf(nil, table, "INTEGER PRIMARY KEY AUTOINCREMENT")},
		"postgres/00001_marks.sql": {Data: fmt.Appendf(nil, table, "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY")},
	}
}

// trip is the state of the saga under test; Log grows with every step.
type trip struct {
	ID  string
	Log []string
}

// world is a module with one saga: book (remote), pay (remote), confirm (local).
type world struct {
	db     *db.DB
	runner *saga.Runner
	saga   *saga.Saga[trip]

	backoff time.Duration // of the steps; default 1 ms

	mu    sync.Mutex
	calls []string
	fail  map[string]func() error // by "do book", "undo book", …
}

const (
	patience = 20 * time.Second
	tick     = 5 * time.Millisecond
)

// eventually polls in the test's own goroutine, so that done may fail the test.
func eventually(t *testing.T, done func() bool, message ...any) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(tick) {
		if time.Now().After(deadline) {
			require.Fail(t, "too late", message...)
		}
	}
}

// does makes what ("do book") do something more; nil ends that.
func (w *world) does(what string, fn func() error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fail := maps.Clone(w.fail)
	if fail == nil {
		fail = map[string]func() error{}
	}
	fail[what] = fn
	w.fail = fail
}

// fails makes what ("do book") fail; nil ends that.
func (w *world) fails(what string, err error) { w.does(what, func() error { return err }) }

func (w *world) act(ctx context.Context, s *trip, what string, local bool) error {
	w.mu.Lock()
	w.calls = append(w.calls, what)
	fail := w.fail[what]
	w.mu.Unlock()
	if local {
		if err := w.db.Queue(ctx).Exec("INSERT INTO marks (saga, what) VALUES (?, ?)", s.ID, what).Error; err != nil {
			return err
		}
	} else if db.InTx(ctx) {
		return errors.New("a remote step runs inside a transaction")
	}
	if fail != nil {
		if err := fail(); err != nil {
			return err
		}
	}
	s.Log = append(s.Log, what)
	return nil
}

func (w *world) step(name string, local bool) saga.Step[trip] {
	backoff := max(w.backoff, time.Millisecond)
	return saga.Step[trip]{
		Name: name, Local: local,
		Do:        func(ctx context.Context, s *trip) error { return w.act(ctx, s, "do "+name, local) },
		Undo:      func(ctx context.Context, s *trip) error { return w.act(ctx, s, "undo "+name, local) },
		Retry:     saga.RetryPolicy{Attempts: 3, Min: backoff, Max: 2 * backoff, Timeout: time.Second},
		UndoRetry: saga.RetryPolicy{Attempts: 3, Min: backoff, Max: 2 * backoff, Timeout: time.Second},
	}
}

func setup(t *testing.T, c db.Config, fail map[string]func() error) *world {
	t.Helper()
	w := &world{db: dbtest.Open(t, c, "order", marks(), nil), fail: fail}
	w.register(10*time.Second, 0)
	return w
}

// register makes a new runner, as a new process would.
func (w *world) register(lease, timeout time.Duration) {
	w.newRunner(lease)
	w.saga = saga.Register(w.runner, saga.Definition[trip]{
		Name: "trip", Timeout: timeout,
		Steps: []saga.Step[trip]{w.step("book", false), w.step("pay", false), w.step("confirm", true)},
		Failed: func(ctx context.Context, s *trip, cause *fault.Error) error {
			return w.act(ctx, s, "failed "+cause.Code, true)
		},
	})
}

func (w *world) newRunner(lease time.Duration) {
	w.runner = saga.NewRunner(w.db, saga.Options{
		Poll: 5 * time.Millisecond, Lease: lease, Workers: 4, Log: slog.New(slog.DiscardHandler), Now: time.Now, Owner: uuid.NewString(),
	})
}

func (w *world) run(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.runner.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-done)
	})
	t.Cleanup(stop)
	return stop
}

func (w *world) start(t *testing.T, id string) {
	t.Helper()
	require.NoError(t, w.db.Tx(t.Context(), func(ctx context.Context) error { return w.saga.Start(ctx, id, trip{ID: id}) }))
}

// ends waits for the saga's final state and returns it with the saga's log.
func (w *world) ends(t *testing.T, id string) (saga.State, string) {
	t.Helper()
	var row struct{ State, Data string }
	eventually(t, func() bool {
		require.NoError(t, w.db.Conn(t.Context()).Raw("SELECT state, data FROM sagas WHERE id = ?", id).Scan(&row).Error)
		return row.State != "" && row.State != string(saga.Running) && row.State != string(saga.Compensating)
	})
	_, log, _ := strings.Cut(row.Data, `"Log":`)
	return saga.State(row.State), strings.Trim(log, "}")
}

// reaches waits until the saga has the state and the history.
func (w *world) reaches(t *testing.T, id string, state saga.State, history ...string) {
	t.Helper()
	var now string
	want := fmt.Sprint(state, history)
	eventually(t, func() bool {
		s, err := saga.Show(t.Context(), w.db, "trip", id)
		require.NoError(t, err)
		now = fmt.Sprint(s.State, kinds(s.History))
		return now == want
	}, "%s does not reach %s", id, want)
}

func (w *world) marks(t *testing.T) []string {
	t.Helper()
	var rows []string
	require.NoError(t, w.db.Conn(t.Context()).Raw("SELECT what FROM marks ORDER BY n").Scan(&rows).Error)
	return rows
}

func (w *world) marksOf(t *testing.T, id string) []string {
	t.Helper()
	var rows []string
	require.NoError(t, w.db.Conn(t.Context()).Raw("SELECT what FROM marks WHERE saga = ? ORDER BY n", id).Scan(&rows).Error)
	return rows
}

func TestSaga_Completes(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		w := setup(t, c, nil)
		w.run(t)
		w.start(t, "t1")
		state, log := w.ends(t, "t1")
		require.Equal(t, saga.Completed, state)
		require.Equal(t, `["do book","do pay","do confirm"]`, log)
		require.Equal(t, []string{"do confirm"}, w.marks(t))
	})
}

func TestSaga_StartRollsBack(t *testing.T) {
	t.Parallel()
	w := setup(t, dbtest.SQLite(t), nil)
	w.run(t)
	oops := errors.New("oops")
	require.ErrorIs(t, w.db.Tx(t.Context(), func(ctx context.Context) error {
		require.NoError(t, w.saga.Start(ctx, "t1", trip{ID: "t1"}))
		return oops
	}), oops)
	w.start(t, "t2")
	w.ends(t, "t2")
	w.mu.Lock()
	defer w.mu.Unlock()
	require.Len(t, w.calls, 3, "only the second ran")
}

func TestSaga_CompensatesInReverse(t *testing.T) {
	t.Parallel()
	refused := fault.New(fault.Unprocessable, "card_declined", "no")
	unknown := fault.New(fault.Timeout, "", "no answer")
	for name, c := range map[string]struct {
		fail  map[string]func() error
		calls []string
	}{
		"FirstStepRefused": {
			map[string]func() error{"do book": func() error { return refused }},
			[]string{"do book", "failed card_declined"},
		},
		"SecondStepRefused": {
			map[string]func() error{"do pay": func() error { return refused }},
			[]string{"do book", "do pay", "undo book", "failed card_declined"},
		},
		"OutcomeUnknownIsUndoneToo": {
			map[string]func() error{"do pay": func() error { return unknown }},
			[]string{"do book", "do pay", "do pay", "do pay", "undo pay", "undo book", "failed timeout"},
		},
		"LocalStepRefused": {
			map[string]func() error{"do confirm": func() error { return refused }},
			[]string{"do book", "do pay", "do confirm", "undo pay", "undo book", "failed card_declined"},
		},
		"Panic": {
			map[string]func() error{"do book": func() error { panic("boom") }},
			[]string{"do book", "do book", "do book", "undo book", "failed internal"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dbtest.Each(t, func(t *testing.T, cfg db.Config) {
				w := setup(t, cfg, c.fail)
				w.run(t)
				w.start(t, "t1")
				state, _ := w.ends(t, "t1")
				require.Equal(t, saga.Compensated, state)
				w.mu.Lock()
				defer w.mu.Unlock()
				require.Equal(t, c.calls, w.calls)
				require.Equal(t, c.calls[len(c.calls)-1:], w.marks(t), "a local step that failed left nothing")
			})
		})
	}
}

func TestSaga_RetriesTemporaryFaults(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		left := 2
		w := setup(t, c, map[string]func() error{"do pay": func() error {
			if left--; left >= 0 {
				return fault.New(fault.Unavailable, "", "not yet")
			}
			return nil
		}})
		w.run(t)
		w.start(t, "t1")
		state, log := w.ends(t, "t1")
		require.Equal(t, saga.Completed, state)
		require.Equal(t, `["do book","do pay","do confirm"]`, log)
	})
}

func TestSaga_CompensationFailedIsVisible(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		w := setup(t, c, map[string]func() error{
			"do pay":    func() error { return fault.New(fault.Conflict, "", "no") },
			"undo book": func() error { return fault.New(fault.Conflict, "", "never") },
		})
		w.run(t)
		w.start(t, "t1")
		state, _ := w.ends(t, "t1")
		require.Equal(t, saga.CompensationFailed, state)
	})
}

func TestSaga_TimesOut(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		w := setup(t, c, map[string]func() error{"do pay": func() error { return fault.New(fault.Unavailable, "", "down") }})
		w.register(10*time.Second, time.Millisecond)
		w.run(t)
		w.start(t, "t1")
		state, _ := w.ends(t, "t1")
		require.Equal(t, saga.Compensated, state)
		require.Contains(t, w.marks(t), "failed saga_timeout")
	})
}

// Who never listed its name, or whose machine is cut off, is waited for until
// its lease ends.
func TestSaga_LeaseEnds(t *testing.T) {
	t.Parallel()
	c := dbtest.Postgres(t)
	w := setup(t, c, nil)
	w.start(t, "t1")
	require.NoError(t, w.db.Tx(t.Context(), func(ctx context.Context) error {
		return w.db.Queue(ctx).Exec("UPDATE sagas SET owner = 'lost', due_at = ?", db.Micros(time.Now().Add(time.Second))).Error
	}))
	began := time.Now()
	w.run(t)
	state, log := w.ends(t, "t1")
	require.Equal(t, saga.Completed, state)
	require.Equal(t, `["do book","do pay","do confirm"]`, log)
	require.Greater(t, time.Since(began), time.Second/2)
}

func TestSaga_StopHandsOver(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		const lease = time.Hour // so that only the hand-over can make it run again
		entered, release := make(chan struct{}, 8), make(chan struct{})
		w := setup(t, c, map[string]func() error{"do pay": func() error {
			entered <- struct{}{}
			<-release
			return context.Canceled
		}})
		w.register(lease, 0)
		stop := w.run(t)
		w.start(t, "t1")
		<-entered
		go func() { time.Sleep(10 * time.Millisecond); close(release) }()
		stop()
		w.mu.Lock()
		w.fail = nil
		w.mu.Unlock()
		w.register(lease, 0)
		w.run(t)
		state, _ := w.ends(t, "t1")
		require.Equal(t, saga.Completed, state)
	})
}

func TestSaga_TwoReplicasShareTheWork(t *testing.T) {
	t.Parallel()
	const sagas = 60
	c := dbtest.Postgres(t)
	w := setup(t, c, nil)
	other := &world{db: w.db}
	other.register(10*time.Second, 0)
	w.run(t)
	other.run(t)
	for i := range sagas {
		[]*world{w, other}[i%2].start(t, fmt.Sprint(i))
	}
	for i := range sagas {
		state, _ := w.ends(t, fmt.Sprint(i))
		require.Equal(t, saga.Completed, state)
	}
	require.Len(t, w.marks(t), sagas)
}

func TestRegister_Twice(t *testing.T) {
	t.Parallel()
	w := setup(t, dbtest.SQLite(t), nil)
	require.Panics(t, func() { saga.Register(w.runner, saga.Definition[trip]{Name: "trip"}) })
}
