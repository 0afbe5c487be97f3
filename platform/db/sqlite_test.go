package db_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cleave/platform/db"
	"cleave/platform/db/dbtest"
	"cleave/platform/fault"
)

type member func(ctx context.Context, d *db.DB) error

func adds(id string) member {
	return func(ctx context.Context, d *db.DB) error { return add(ctx, d, id) }
}

// group runs the members as one commit group, in their order, and returns the
// errors of their transactions.
func group(t *testing.T, d *db.DB, members ...member) []error {
	t.Helper()
	errs := make([]error, len(members))
	holding, proceed := make(chan struct{}), make(chan struct{})
	var once sync.Once
	var wg sync.WaitGroup
	wg.Go(func() {
		errs[0] = d.Tx(context.Background(), func(ctx context.Context) error {
			err := d.Conn(ctx).Exec("SELECT 1").Error
			once.Do(func() { close(holding) })
			<-proceed
			return errors.Join(err, members[0](ctx, d))
		})
	})
	<-holding
	for i, m := range members[1:] {
		wg.Go(func() {
			defer func() {
				if v := recover(); v != nil {
					errs[i+1] = fmt.Errorf("panic: %v", v)
				}
			}()
			errs[i+1] = d.Tx(context.Background(), func(ctx context.Context) error { return m(ctx, d) })
			if errs[i+1] == nil {
				require.NotEmpty(t, ids(t, context.Background(), d), "acknowledged before the commit")
			}
		})
		require.Eventually(t, func() bool { return d.Waiting() == i+1 }, 5*time.Second, time.Millisecond)
	}
	close(proceed)
	wg.Wait()
	return errs
}

func TestCommitGroup(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	setup := func(t *testing.T) *db.DB {
		t.Parallel()
		d := dbtest.Open(t, dbtest.SQLite(t), "order", itemMigrations, constraints)
		d.GroupFor(time.Minute)
		return d
	}
	refuses := func(id string) member {
		return func(ctx context.Context, d *db.DB) error {
			require.NoError(t, add(ctx, d, id))
			return errRefused
		}
	}
	t.Run("Commits", func(t *testing.T) {
		d := setup(t)
		for _, err := range group(t, d, adds("a"), adds("b"), adds("c")) {
			require.NoError(t, err)
		}
		require.Equal(t, []string{"a", "b", "c"}, ids(t, ctx, d))
	})
	t.Run("FailedMembers", func(t *testing.T) {
		d := setup(t)
		errs := group(t, d, refuses("a"), adds("b"), refuses("c"), adds("d"),
			func(ctx context.Context, d *db.DB) error {
				_ = add(ctx, d, "e")
				panic("boom")
			},
			func(ctx context.Context, d *db.DB) error {
				_ = add(ctx, d, "f")
				return d.Conn(ctx).Create(&item{ID: "g", Name: "name of b"}).Error
			},
			adds("h"), refuses("i"))
		require.ErrorIs(t, errs[0], errRefused)
		require.Equal(t, []error{nil, errRefused, nil}, errs[1:4])
		require.EqualError(t, errs[4], "panic: boom")
		require.ErrorIs(t, errs[5], errNameTaken)
		require.Equal(t, []error{nil, errRefused}, errs[6:])
		require.Equal(t, []string{"b", "d", "h"}, ids(t, ctx, d))
	})
	t.Run("ViolationAtCommit", func(t *testing.T) {
		d := setup(t)
		var ran atomic.Int32
		counted := func(m member) member {
			return func(ctx context.Context, d *db.DB) error {
				ran.Add(1)
				return m(ctx, d)
			}
		}
		errs := group(t, d, counted(adds("a")), counted(func(ctx context.Context, d *db.DB) error {
			return d.Conn(ctx).Exec("INSERT INTO parts (item_id, no) VALUES ('missing', 1)").Error
		}), counted(adds("c")))
		require.NoError(t, errs[0])
		require.Equal(t, "constraint_violated", fault.CodeOf(errs[1]))
		require.NoError(t, errs[2])
		require.EqualValues(t, 6, ran.Load(), "each alone the second time")
		require.Equal(t, []string{"a", "c"}, ids(t, ctx, d))
	})
	t.Run("DiskFull", func(t *testing.T) {
		d := setup(t)
		pages := func(n int) {
			require.NoError(t, d.Tx(ctx, func(ctx context.Context) error {
				return d.Conn(ctx).Exec(fmt.Sprintf("PRAGMA max_page_count = %d", n)).Error
			}))
		}
		pages(1) // no more than there are
		big := func(ctx context.Context, d *db.DB) error {
			return d.Conn(ctx).Create(&item{ID: "big", Name: strings.Repeat("big", 1<<20)}).Error
		}
		errs := group(t, d, adds("a"), big, adds("c"))
		require.NoError(t, errs[0])
		require.Equal(t, fault.Unavailable, fault.KindOf(errs[1]), "%v", errs[1])
		require.NoError(t, errs[2])
		pages(1 << 30)
		require.NoError(t, d.Tx(ctx, func(ctx context.Context) error { return big(ctx, d) }))
		require.Equal(t, []string{"a", "big", "c"}, ids(t, ctx, d))
	})
	// A member that fails for another one's sake returns when that is committed.
	t.Run("SeesCommitted", func(t *testing.T) {
		d := setup(t)
		var taken atomic.Int32
		takes := func(ctx context.Context, d *db.DB) error {
			err := add(ctx, d, "same")
			if db.IsUnique(err, "items_pkey") || db.IsUnique(err, "items_name_key") {
				taken.Add(1)
				return errRefused
			}
			return err
		}
		check := func(err error) { // runs as soon as the transaction has returned
			require.Truef(t, err == nil || errors.Is(err, errRefused), "%v", err)
			require.Equal(t, []string{"same"}, ids(t, ctx, d))
		}
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() { check(d.Tx(ctx, func(ctx context.Context) error { return takes(ctx, d) })) })
			wg.Go(func() {
				check(d.Lazy(ctx, func(ctx context.Context) error {
					return d.Tx(ctx, func(ctx context.Context) error { return takes(ctx, d) })
				}))
			})
		}
		wg.Wait()
		require.EqualValues(t, 31, taken.Load())
	})
	t.Run("FailsForWhatWasNotCommitted", func(t *testing.T) {
		d := setup(t)
		errs := group(t, d, adds("a"),
			func(ctx context.Context, d *db.DB) error { // its work will not be committed
				if err := add(ctx, d, "b"); err != nil {
					return err
				}
				return d.Conn(ctx).Exec("INSERT INTO parts (item_id, no) VALUES ('missing', 1)").Error
			},
			adds("b"), // and this one saw it
		)
		require.NoError(t, errs[0])
		require.Error(t, errs[1])
		require.NoError(t, errs[2], "it succeeds alone")
		require.Equal(t, []string{"a", "b"}, ids(t, ctx, d))
	})
	t.Run("CanceledWaiter", func(t *testing.T) {
		d := setup(t)
		canceled, cancel := context.WithCancel(ctx)
		var waited error
		errs := group(t, d, func(ctx context.Context, d *db.DB) error {
			done := make(chan struct{})
			go func() {
				defer close(done)
				waited = d.Tx(canceled, func(ctx context.Context) error { return add(ctx, d, "x") })
			}()
			require.Eventually(t, func() bool { return d.Waiting() == 2 }, 5*time.Second, time.Millisecond)
			cancel()
			<-done
			return add(ctx, d, "a")
		}, adds("b"))
		require.Equal(t, fault.Canceled, fault.KindOf(waited))
		require.Equal(t, []error{nil, nil}, errs)
		require.Equal(t, []string{"a", "b"}, ids(t, ctx, d))
	})
	// Waiters give up at any moment, also when the writer has just become theirs.
	t.Run("ManyGiveUp", func(t *testing.T) {
		d := setup(t)
		var done atomic.Int32
		var wg sync.WaitGroup
		for i := range 300 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(ctx, time.Duration(i%30)*100*time.Microsecond)
				defer cancel()
				err := d.Tx(ctx, func(ctx context.Context) error { return add(ctx, d, fmt.Sprint(i)) })
				if err == nil {
					done.Add(1)
				} else if kind := fault.KindOf(err); kind != fault.Timeout {
					t.Errorf("%v: %v", kind, err)
				}
			})
		}
		wg.Wait()
		require.Len(t, ids(t, ctx, d), int(done.Load()))
		require.NoError(t, d.Tx(ctx, func(ctx context.Context) error { return add(ctx, d, "last") }))
	})
	t.Run("LazyUnits", func(t *testing.T) {
		d := setup(t)
		errs := group(t, d, adds("a"), adds("b"))
		require.Equal(t, []error{nil, nil}, errs)
		var wg sync.WaitGroup
		failed := make(chan error, 32)
		for i := range 32 {
			wg.Go(func() {
				err := d.Lazy(ctx, func(ctx context.Context) error {
					for _, part := range []string{"x", "y"} {
						err := d.Tx(ctx, func(ctx context.Context) error { return add(ctx, d, fmt.Sprint(part, i)) })
						if err != nil {
							return err
						}
					}
					if i%2 == 1 {
						return errRefused
					}
					return nil
				})
				if err != nil && !errors.Is(err, errRefused) {
					failed <- err
				}
			})
		}
		wg.Wait()
		close(failed)
		require.NoError(t, <-failed)
		require.Len(t, ids(t, ctx, d), 2+32)
	})
}

// Two processes share the file: the one that waits too long says so.
func TestLockedFile(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c := dbtest.SQLite(t)
	first, second := dbtest.Open(t, c, "order", itemMigrations, nil), dbtest.Open(t, c, "order", itemMigrations, nil)
	require.NoError(t, first.Tx(ctx, func(ctx context.Context) error {
		require.NoError(t, add(ctx, first, "a"))
		err := second.Tx(db.Detach(ctx), func(ctx context.Context) error { return add(ctx, second, "b") })
		require.Equal(t, fault.Unavailable, fault.KindOf(err))
		return nil
	}))
	require.NoError(t, second.Tx(ctx, func(ctx context.Context) error { return add(ctx, second, "b") }))
	require.Equal(t, []string{"a", "b"}, ids(t, ctx, first))
	require.FileExists(t, filepath.Join(c.Dir, "order.db"))
}
