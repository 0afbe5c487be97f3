package saga_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cleave/platform/backoff"
	"cleave/platform/db"
	"cleave/platform/db/dbtest"
	"cleave/platform/fault"
	"cleave/platform/saga"
)

var errDown = fault.New(fault.Unavailable, "", "down")

// define runs a saga of the given steps and the end in the world's database.
func (w *world) define(t *testing.T, o saga.Options, timeout time.Duration, steps ...saga.Step[trip]) {
	t.Helper()
	o.Poll, o.Now, o.Owner = tick, time.Now, uuid.NewString()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	w.runner = saga.NewRunner(w.db, o)
	w.saga = saga.Register(w.runner, saga.Definition[trip]{
		Name: "trip", Timeout: timeout, Steps: steps,
		Failed: func(ctx context.Context, s *trip, cause *fault.Error) error {
			return w.act(ctx, s, "failed "+cause.Code, true)
		},
	})
	w.run(t)
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	do := func(context.Context, *trip) error { return nil }
	p := saga.Compile(saga.Definition[trip]{Name: "trip", Steps: []saga.Step[trip]{
		{Name: "a", Do: do, Undo: do},
		{Name: "b", Do: do, Local: true},
		{Name: "c", Do: do, Retriable: true},
		{Name: "d", Do: do, Retriable: true, Retry: saga.RetryPolicy{Attempts: 2, Min: 2 * time.Minute, Timeout: time.Hour, Limit: -1}},
	}})
	once := saga.RetryPolicy{Attempts: 10, Min: 50 * time.Millisecond, Max: 10 * time.Second, Timeout: 3 * time.Second}
	lasting := saga.RetryPolicy{Attempts: -1, Min: 50 * time.Millisecond, Max: time.Minute, Timeout: 3 * time.Second, Limit: 24 * time.Hour}
	require.Equal(t, once, p.Steps[0].Retry)
	require.Equal(t, lasting, p.Steps[0].UndoRetry)
	once.Timeout = 5 * time.Second
	require.Equal(t, once, p.Steps[1].Retry)
	require.Nil(t, p.Steps[1].Undo)
	require.Equal(t, lasting, p.Steps[2].Retry)
	require.Equal(t, saga.RetryPolicy{Attempts: 2, Min: 2 * time.Minute, Max: 2 * time.Minute, Timeout: time.Hour, Limit: -1}, p.Steps[3].Retry)
	lasting.Timeout = 5 * time.Second
	require.Equal(t, lasting, p.FailedRetry)
}

// The limit of a step ends its attempts, however many are left; for a
// compensation that means that a person is needed.
func TestLimit(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		limited := saga.RetryPolicy{Attempts: -1, Min: time.Millisecond, Max: 2 * time.Millisecond, Limit: 100 * time.Millisecond}
		w := setup(t, c, map[string]func() error{"do pay": func() error { return errDown }, "undo book": func() error { return errDown }})
		book, pay := w.step("book", false), w.step("pay", false)
		book.UndoRetry, pay.Retry = limited, limited
		w.define(t, saga.Options{}, 0, book, pay)
		w.start(t, "t1")
		w.reaches(t, "t1", saga.CompensationFailed, "do book", "do pay", "undo pay", "undo book")
		s, err := saga.Show(t.Context(), w.db, "trip", "t1")
		require.NoError(t, err)
		for _, e := range []saga.Entry{s.History[1], s.History[3]} {
			require.Greater(t, e.Attempts, 1, e.Step)
			require.Equal(t, "unavailable: down", e.Error)
			require.LessOrEqual(t, limited.Limit-2*limited.Max, e.Ended.Sub(e.Began), e.Step)
		}
		before := s.History[3].Attempts
		_, err = saga.Retry(t.Context(), w.db, saga.Filter{}) // which counts anew
		require.NoError(t, err)
		w.reaches(t, "t1", saga.CompensationFailed, "do book", "do pay", "undo pay", "undo book", "retry ", "undo book")
		s, err = saga.Show(t.Context(), w.db, "trip", "t1")
		require.NoError(t, err)
		require.Equal(t, before, s.History[3].Attempts)
		require.Greater(t, s.History[5].Attempts, 1)
	})
}

// A step that ignores its context is left behind: its worker goes on, no other
// attempt begins beside it, and what it returns in the end is not used.
func TestStepNeverReturns(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		for _, local := range []bool{false, true} {
			name := map[bool]string{false: "Remote", true: "Local"}[local]
			t.Run(name, func(t *testing.T) {
				release, entered := make(chan struct{}), make(chan struct{}, 8)
				w := setup(t, c, nil)
				w.does("do pay", func() error {
					entered <- struct{}{}
					<-release
					return nil
				})
				pay := w.step("pay", local)
				pay.Retry = saga.RetryPolicy{Attempts: -1, Timeout: 20 * time.Millisecond, Min: time.Millisecond, Max: 20 * time.Millisecond}
				l := &logs{}
				w.define(t, saga.Options{Workers: 1, Log: slog.New(slog.NewTextHandler(l, nil))}, 0, w.step("book", false), pay)
				w.start(t, name)
				<-entered
				var s *saga.Detail
				eventually(t, func() bool {
					var err error
					s, err = saga.Show(t.Context(), w.db, "trip", name)
					require.NoError(t, err)
					return s.Attempts > 3
				})
				require.Contains(t, s.Error, "step_stuck")
				require.Empty(t, entered, "no other attempt beside it")
				require.Equal(t, 1, l.count("ignores the end of its context"))
				w.does("do pay", nil)
				close(release)
				w.reaches(t, name, saga.Completed, "do book", "do pay")
				if local {
					require.Equal(t, []string{"do pay"}, w.marksOf(t, name), "what the one left behind wrote is gone")
				}
			})
		}
	})
}

// The saga's time limit ends a step that is stuck, and one that waits for its
// next attempt; past the point of no return it ends nothing.
func TestDeadline(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		// passes lets the deadline come while the saga stands at the step.
		passes := func(t *testing.T, w *world, id string) {
			require.NoError(t, w.db.Tx(t.Context(), func(ctx context.Context) error {
				return w.db.Queue(ctx).Exec("UPDATE sagas SET deadline = ?, due_at = CASE WHEN owner = '' THEN 0 ELSE due_at END WHERE id = ?", db.Micros(time.Now()), id).Error
			}))
		}
		t.Run("Waiting", func(t *testing.T) {
			w := setup(t, c, map[string]func() error{"do pay": func() error { return errDown }})
			pay := w.step("pay", false)
			pay.Retry = saga.RetryPolicy{Min: time.Hour, Max: time.Hour}
			w.define(t, saga.Options{}, time.Hour, w.step("book", false), pay)
			w.start(t, "waiting")
			w.reaches(t, "waiting", saga.Running, "do book", "do pay")
			s, err := saga.Show(t.Context(), w.db, "trip", "waiting")
			require.NoError(t, err)
			require.False(t, s.DueAt.After(s.Deadline), "it is looked at when the limit passes")
			passes(t, w, "waiting")
			w.reaches(t, "waiting", saga.Compensated, "do book", "do pay", "undo pay", "undo book", "end ")
			require.Contains(t, w.marksOf(t, "waiting"), "failed saga_timeout")
		})
		t.Run("Stuck", func(t *testing.T) {
			w := setup(t, c, nil)
			pay := w.step("pay", false)
			pay.Do = func(ctx context.Context, _ *trip) error {
				<-ctx.Done()
				return ctx.Err()
			}
			pay.Retry = saga.RetryPolicy{Timeout: time.Hour}
			w.define(t, saga.Options{}, time.Second, w.step("book", false), pay)
			w.start(t, "stuck")
			w.ends(t, "stuck")
			require.Contains(t, w.marksOf(t, "stuck"), "failed saga_timeout")
		})
		t.Run("PastReturn", func(t *testing.T) {
			w := setup(t, c, map[string]func() error{"do pay": func() error { return errDown }})
			pay := w.step("pay", false)
			pay.Retriable, pay.Undo, pay.Retry = true, nil, saga.RetryPolicy{Min: time.Hour, Max: time.Hour}
			w.define(t, saga.Options{}, time.Hour, w.step("book", false), pay)
			w.start(t, "past")
			w.reaches(t, "past", saga.Running, "do book", "do pay")
			passes(t, w, "past")
			require.Equal(t, "saga_past_return", fault.CodeOf(saga.Compensate(t.Context(), w.db, "trip", "past")))
			eventually(t, func() bool {
				s, err := saga.Show(t.Context(), w.db, "trip", "past")
				require.NoError(t, err)
				return s.Attempts == 2 && s.Owner == ""
			})
			w.fails("do pay", errRefused)
			n, err := saga.Retry(t.Context(), w.db, saga.Filter{ID: "past"})
			require.NoError(t, err)
			require.Equal(t, 1, n)
			w.ends(t, "past")
			require.Equal(t, "saga_state", fault.CodeOf(saga.Compensate(t.Context(), w.db, "trip", "past")))
			w.fails("do pay", nil)
			n, err = saga.Retry(t.Context(), w.db, saga.Filter{State: saga.CompensationFailed})
			require.NoError(t, err)
			require.Equal(t, 1, n)
			state, _ := w.ends(t, "past")
			require.Equal(t, saga.Completed, state, "it goes on forward")
		})
	})
}

// An attempt that may take longer than the lease makes the lease last.
func TestLeaseLastsForTheAttempt(t *testing.T) {
	t.Parallel()
	c := dbtest.Postgres(t)
	w := setup(t, c, nil)
	entered, release := make(chan struct{}, 8), make(chan struct{})
	w.does("do pay", func() error {
		entered <- struct{}{}
		<-release
		return nil
	})
	pay := w.step("pay", false)
	pay.Retry.Timeout = time.Hour
	w.define(t, saga.Options{Lease: time.Second}, 0, w.step("book", false), pay)
	w.start(t, "t1")
	<-entered
	s, err := saga.Show(t.Context(), w.db, "trip", "t1")
	require.NoError(t, err)
	require.Greater(t, time.Until(s.DueAt), 59*time.Minute)
	close(release)
	w.reaches(t, "t1", saga.Completed, "do book", "do pay")
	require.Empty(t, entered)
}

// The waits of sagas that fail together differ, so that they do not come back
// together, and stay within half and the whole of the doubled pause.
func TestJitter(t *testing.T) {
	t.Parallel()
	seen := map[time.Duration]bool{}
	for range 50 {
		d := backoff.Delay(3, 100*time.Millisecond, time.Minute)
		require.True(t, 200*time.Millisecond <= d && d <= 400*time.Millisecond, d)
		seen[d] = true
	}
	require.Greater(t, len(seen), 25)
	require.LessOrEqual(t, backoff.Delay(100, 100*time.Millisecond, time.Second), time.Second)
}

// watch is an Observer that writes down what it sees.
type watch struct {
	mu   sync.Mutex
	seen []string
}

func (o *watch) SagaAttempted(name, kind, step string, err error) {
	o.add(strings.TrimSpace(name+" "+kind+" "+step) + map[bool]string{true: "", false: " failed"}[err == nil])
}

func (o *watch) SagaEnded(name string, state saga.State, took time.Duration) {
	if took <= 0 || took > time.Hour {
		o.add("took " + took.String())
	}
	o.add(name + " " + string(state))
}

func (o *watch) add(what string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen = append(o.seen, what)
}

func TestObserver(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		o := &watch{}
		left := 1
		w := setup(t, c, map[string]func() error{"do pay": func() error { return errRefused }, "undo book": func() error {
			if left--; left >= 0 {
				return errDown
			}
			return nil
		}})
		w.define(t, saga.Options{Observer: o}, 0, w.step("book", false), w.step("pay", false))
		w.start(t, "t1")
		w.ends(t, "t1")
		want := []string{"trip do book", "trip do pay failed", "trip undo book failed", "trip undo book", "trip end", "trip compensated"}
		eventually(t, func() bool {
			o.mu.Lock()
			defer o.mu.Unlock()
			return len(o.seen) == len(want)
		})
		require.ElementsMatch(t, want, o.seen)
	})
}

// A record that the database refuses for a while is written later, without
// doing the step again.
func TestRecordIsRetried(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		w := setup(t, c, nil)
		entered, release := make(chan struct{}, 8), make(chan struct{})
		w.does("do book", func() error {
			entered <- struct{}{}
			<-release
			return nil
		})
		l := &logs{}
		w.define(t, saga.Options{Log: slog.New(slog.NewTextHandler(l, nil))}, 0, w.step("book", false), w.step("pay", false))
		w.start(t, "t1")
		<-entered
		w.rename(t, "sagas", "elsewhere")
		close(release)
		eventually(t, func() bool { return l.count("cannot be recorded; trying again") > 0 })
		w.does("do book", func() error { return errRefused })
		w.rename(t, "elsewhere", "sagas")
		w.reaches(t, "t1", saga.Completed, "do book", "do pay")
	})
}

func (w *world) rename(t *testing.T, from, to string) {
	t.Helper()
	require.NoError(t, w.db.Tx(t.Context(), func(ctx context.Context) error {
		return w.db.Conn(ctx).Exec("ALTER TABLE " + from + " RENAME TO " + to).Error
	}))
}
