package saga_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cleave/platform/db"
	"cleave/platform/db/dbtest"
	"cleave/platform/fault"
	"cleave/platform/saga"
)

var errRefused = fault.New(fault.Conflict, "refused", "no")

func kinds(entries []saga.Entry) (all []string) {
	for _, e := range entries {
		all = append(all, e.Kind+" "+e.Step)
	}
	return all
}

func TestShow(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		left := 2
		w := setup(t, c, map[string]func() error{"do book": func() error {
			if left--; left >= 0 {
				return fmt.Errorf("dial tcp: %w", errors.New("connection refused"))
			}
			return nil
		}, "do pay": func() error { return errRefused }})
		w.run(t)
		began := time.Now().Add(-time.Millisecond)
		w.start(t, "t1")
		w.ends(t, "t1")
		s, err := saga.Show(t.Context(), w.db, "trip", "t1")
		require.NoError(t, err)
		require.Equal(t, saga.Compensated, s.State)
		require.Equal(t, []string{"book", "pay", "confirm"}, s.Plan)
		require.Zero(t, s.Done)
		require.Equal(t, "refused: no", s.Cause)
		require.Contains(t, string(s.Data), `"undo book"`)
		require.Equal(t, []string{"do book", "do pay", "undo book", "end "}, kinds(s.History))
		book, pay := s.History[0], s.History[1]
		require.Equal(t, 2, book.Attempts)
		require.Equal(t, "internal: internal error: dial tcp: connection refused", book.Error)
		require.Equal(t, 1, pay.Attempts)
		require.Equal(t, "refused: no", pay.Error)
		for _, e := range s.History {
			require.True(t, e.Began.After(began) && e.Ended.After(e.Began) && e.Ended.Before(time.Now().Add(time.Millisecond)), "%+v", e)
			began = e.Began.Add(-time.Millisecond)
		}
		_, err = saga.Show(t.Context(), w.db, "trip", "t2")
		require.Equal(t, "saga_not_found", fault.CodeOf(err))
	})
}

func TestList(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		w := setup(t, c, nil)
		for i := range 7 {
			w.start(t, fmt.Sprint("t", i))
		}
		ids := func(f saga.Filter) (all []string) {
			infos, err := saga.List(t.Context(), w.db, f)
			require.NoError(t, err)
			for _, i := range infos {
				all = append(all, i.ID)
			}
			return all
		}
		var paged []string
		for f := (saga.Filter{Name: "trip", State: saga.Running, Limit: 3}); ; {
			page, err := saga.List(t.Context(), w.db, f)
			require.NoError(t, err)
			if len(page) == 0 {
				break
			}
			for _, i := range page {
				require.Equal(t, "book", i.Step)
				require.Equal(t, saga.Running, i.State)
				require.False(t, i.CreatedAt.IsZero())
				paged = append(paged, i.ID)
			}
			f.Next = page[len(page)-1].Cursor()
		}
		require.Equal(t, []string{"t6", "t5", "t4", "t3", "t2", "t1", "t0"}, paged)
		require.Equal(t, paged, ids(saga.Filter{}))
		require.Equal(t, []string{"t3"}, ids(saga.Filter{ID: "t3"}))
		require.Empty(t, ids(saga.Filter{State: saga.CompensationFailed}))
		require.Empty(t, ids(saga.Filter{Name: "voyage"}))
		require.Empty(t, ids(saga.Filter{Before: time.Now().Add(-time.Hour)}))
		require.Empty(t, ids(saga.Filter{After: time.Now().Add(time.Hour)}))
		require.Len(t, ids(saga.Filter{After: time.Now().Add(-time.Hour), Before: time.Now().Add(time.Hour)}), 7)
		for _, f := range []saga.Filter{{Limit: -1}, {Limit: 1001}, {State: "lost"}} {
			_, err := saga.List(t.Context(), w.db, f)
			require.Equal(t, fault.Invalid, fault.KindOf(err), "%+v", f)
		}
		counts, err := saga.Counts(t.Context(), w.db)
		require.NoError(t, err)
		require.Len(t, counts, 1)
		require.Equal(t, int64(7), counts[0].Sagas)
		require.WithinDuration(t, time.Now(), counts[0].Oldest, time.Minute)
	})
}

func TestRetry(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		w := setup(t, c, nil)
		stop := w.run(t)
		t.Run("CompensationFailed", func(t *testing.T) {
			w.fails("do pay", errRefused)
			w.fails("undo book", errRefused)
			w.start(t, "t1")
			state, _ := w.ends(t, "t1")
			require.Equal(t, saga.CompensationFailed, state)
			infos, err := saga.List(t.Context(), w.db, saga.Filter{State: saga.CompensationFailed})
			require.NoError(t, err)
			require.Len(t, infos, 1)
			require.Equal(t, "book", infos[0].Step)

			n, err := saga.Retry(t.Context(), w.db, saga.Filter{Name: "trip", ID: "t1"})
			require.NoError(t, err)
			require.Equal(t, 1, n)
			w.reaches(t, "t1", saga.CompensationFailed, "do book", "do pay", "undo book", "retry ", "undo book")
			w.fails("undo book", nil)
			n, err = saga.Retry(t.Context(), w.db, saga.Filter{State: saga.CompensationFailed})
			require.NoError(t, err)
			require.Equal(t, 1, n)
			w.reaches(t, "t1", saga.Compensated, "do book", "do pay", "undo book", "retry ", "undo book", "retry ", "undo book", "end ")
			_, err = saga.Retry(t.Context(), w.db, saga.Filter{Name: "trip", ID: "t1"})
			require.Equal(t, "saga_state", fault.CodeOf(err))
			w.fails("do pay", nil)
		})
		t.Run("Waiting", func(t *testing.T) {
			down := fault.New(fault.Unavailable, "", "down")
			stop() // it would not wait that long
			w.backoff = time.Hour
			w.register(10*time.Second, 0)
			w.fails("do pay", down)
			w.run(t)
			w.start(t, "t2")
			w.reaches(t, "t2", saga.Running, "do book", "do pay")
			w.fails("do pay", nil)
			eventually(t, func() bool {
				n, err := saga.Retry(t.Context(), w.db, saga.Filter{Name: "trip"})
				require.NoError(t, err)
				return n == 1
			})
			w.reaches(t, "t2", saga.Completed, "do book", "do pay", "retry ", "do pay", "do confirm")
		})
		t.Run("Nothing", func(t *testing.T) {
			n, err := saga.Retry(t.Context(), w.db, saga.Filter{})
			require.NoError(t, err)
			require.Zero(t, n)
			_, err = saga.Retry(t.Context(), w.db, saga.Filter{Name: "trip", ID: "t3"})
			require.Equal(t, "saga_not_found", fault.CodeOf(err))
		})
	})
}

func TestCompensate(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		w := setup(t, c, nil)
		stop := w.run(t)
		// A step that is under way when the saga is turned round is undone too, and
		// what it returns afterwards is not recorded.
		for name, step := range map[string]string{"Remote": "do pay", "Local": "do confirm", "First": "do book"} {
			t.Run(name, func(t *testing.T) {
				entered, release := make(chan struct{}), make(chan struct{})
				if c.Dialect() == "sqlite" && step == "do confirm" {
					return // there a local step holds the only writer, and Compensate waits for its end
				}
				w.does(step, func() error {
					entered <- struct{}{}
					<-release
					return nil
				})
				w.start(t, name)
				<-entered
				require.NoError(t, saga.Compensate(t.Context(), w.db, "trip", name))
				require.NoError(t, saga.Compensate(t.Context(), w.db, "trip", name), "twice is as good as once")
				w.fails(step, nil)
				want := map[string][]string{
					"Remote": {"do book", "compensate ", "undo pay", "undo book", "end "},
					"Local":  {"do book", "compensate ", "undo pay", "undo book", "end "},
					"First":  {"compensate ", "undo book", "end "},
				}[name]
				close(release)
				w.reaches(t, name, saga.Compensated, want...)
				s, err := saga.Show(t.Context(), w.db, "trip", name)
				require.NoError(t, err)
				require.Equal(t, "saga_compensated: the saga was turned round by an operator", s.Cause)
				require.NotContains(t, w.marksOf(t, name), "do confirm")
				require.NoError(t, saga.Compensate(t.Context(), w.db, "trip", name))
			})
		}
		t.Run("Completed", func(t *testing.T) {
			w.start(t, "c")
			w.ends(t, "c")
			require.Equal(t, "saga_state", fault.CodeOf(saga.Compensate(t.Context(), w.db, "trip", "c")))
			require.Equal(t, fault.NotFound, fault.KindOf(saga.Compensate(t.Context(), w.db, "trip", "none")))
		})
		t.Run("InTransaction", func(t *testing.T) {
			stop() // it would not wait that long
			w.backoff = time.Hour
			w.register(10*time.Second, 0)
			w.fails("do pay", fault.New(fault.Unavailable, "", "down"))
			w.run(t)
			w.start(t, "tx")
			w.reaches(t, "tx", saga.Running, "do book", "do pay")
			oops := errors.New("oops")
			change := func(err error) error {
				return w.db.Tx(t.Context(), func(ctx context.Context) error {
					require.NoError(t, w.saga.Compensate(ctx, "tx", fault.New(fault.Conflict, "changed_mind", "no more")))
					return err
				})
			}
			require.ErrorIs(t, change(oops), oops)
			w.reaches(t, "tx", saga.Running, "do book", "do pay")
			require.NoError(t, change(nil))
			w.reaches(t, "tx", saga.Compensated, "do book", "do pay", "compensate ", "undo pay", "undo book", "end ")
			require.Contains(t, w.marksOf(t, "tx"), "failed changed_mind")
		})
	})
}

// Operators at work while runners run: each saga ends once, either way, and
// its effects with it.
func TestCompensate_Races(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		const sagas = 60
		w := setup(t, c, nil)
		w.run(t)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := range sagas {
				for range i % 3 {
					time.Sleep(time.Millisecond)
				}
				if err := saga.Compensate(t.Context(), w.db, "trip", fmt.Sprint(i)); fault.KindOf(err) == fault.NotFound {
					continue
				}
				_, _ = saga.Retry(t.Context(), w.db, saga.Filter{})
			}
		}()
		for i := range sagas {
			w.start(t, fmt.Sprint(i))
		}
		<-done
		for i := range sagas {
			id := fmt.Sprint(i)
			state, _ := w.ends(t, id)
			confirmed, failed := 0, 0
			for _, m := range w.marksOf(t, id) {
				switch m {
				case "do confirm":
					confirmed++
				case "failed saga_compensated":
					failed++
				}
			}
			require.Equal(t, [2]int{confirmed, failed}, map[saga.State][2]int{saga.Completed: {1, 0}, saga.Compensated: {0, 1}}[state], "%s is %s", id, state)
		}
	})
}
