package db_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"cleave/platform/db"
	"cleave/platform/db/dbtest"
	"cleave/platform/fault"
)

// reading is a database with 200 items.
type reading struct {
	*db.DB
	limit       int
	lock, watch *pgx.Conn
}

func setupReading(t *testing.T) reading {
	t.Parallel()
	c := dbtest.Postgres(t)
	r := reading{DB: dbtest.Open(t, c, "order", itemMigrations, constraints)}
	r.limit = r.SharedReads()
	for _, conn := range []**pgx.Conn{&r.lock, &r.watch} {
		var err error
		*conn, err = pgx.Connect(t.Context(), c.AdminDSN)
		require.NoError(t, err)
		t.Cleanup(func() { _ = (*conn).Close(context.Background()) })
	}
	require.NoError(t, r.Tx(t.Context(), func(ctx context.Context) error {
		for i := range 200 {
			if err := queue(ctx, r.DB, strconv.Itoa(i)); err != nil {
				return err
			}
		}
		return nil
	}))
	return r
}

// locked runs fn while nobody can read the items.
func (r reading) locked(t *testing.T, fn func()) {
	t.Helper()
	tx, err := r.lock.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `LOCK TABLE "order".items`)
	require.NoError(t, err)
	fn()
	require.NoError(t, tx.Rollback(t.Context()))
}

// busy has as many pipelines of a statement run as may.
func (r reading) busy(t *testing.T, all *sync.WaitGroup, read func()) {
	t.Helper()
	for range r.limit {
		all.Go(read)
	}
	r.full(t, 0)
}

// full waits until as many pipelines run as may, and n reads wait.
func (r reading) full(t *testing.T, n int) {
	t.Helper()
	require.Eventually(t, func() bool {
		waiting, _ := r.WaitingReads()
		return waiting == n && r.PoolStats().InUse == r.limit
	}, 10*time.Second, time.Millisecond, "%d reads wait", n)
}

// idle checks that nothing runs and nothing waits.
func (r reading) idle(t *testing.T) {
	t.Helper()
	waiting, running := r.WaitingReads()
	require.Zero(t, waiting)
	require.False(t, running)
	require.Zero(t, r.PoolStats().InUse)
}

func (r reading) item(ctx context.Context, id int) error {
	found, err := db.Select(ctx, r.DB, (*item).columns, selectItems+" WHERE id = ?", strconv.Itoa(id))
	return only(id, found, err)
}

// only checks that one item was found, and which.
func only(id int, found []item, err error) error {
	if err == nil && (len(found) != 1 || found[0].ID != strconv.Itoa(id) || found[0].Name != "name of "+found[0].ID) {
		return fmt.Errorf("%v is not item %d alone", found, id)
	}
	return err
}

func TestSharedReads_Together(t *testing.T) {
	r := setupReading(t)
	const readers = 150 // more than two pipelines take
	errs := make([]error, readers)
	var all sync.WaitGroup
	r.locked(t, func() {
		r.busy(t, &all, func() { _ = r.item(t.Context(), 0) })
		for i := range readers {
			all.Go(func() { errs[i] = r.item(t.Context(), i) })
		}
		r.full(t, readers)
		_, err := db.Select(t.Context(), r.DB, func(n *int64) []any { return []any{n} }, "SELECT 1::bigint")
		require.NoError(t, err, "other statements do not wait")
	})
	all.Wait()
	require.NoError(t, errors.Join(errs...))
	r.idle(t)
}

// TestSharedReads_Failed has reads fail among others that do not.
func TestSharedReads_Failed(t *testing.T) {
	r := setupReading(t)
	const readers = 60
	errs := make([]error, readers)
	read := func(id, divisor int) error {
		found, err := db.Select(t.Context(), r.DB, (*item).columns, selectItems+" WHERE id = ? AND 6 / ?::bigint > 0", strconv.Itoa(id), divisor)
		return only(id, found, err)
	}
	var all sync.WaitGroup
	r.locked(t, func() {
		r.busy(t, &all, func() { _ = read(0, 1) })
		for i := range readers {
			all.Go(func() { errs[i] = read(i, i%3) })
		}
		r.full(t, readers)
	})
	all.Wait()
	for i, err := range errs {
		if i%3 == 0 {
			require.ErrorContains(t, err, "division by zero")
		} else {
			require.NoError(t, err)
		}
	}
	r.idle(t)
}

// TestSharedReads_LeaderGone ends the one that runs a pipeline for others, in the middle of it.
func TestSharedReads_LeaderGone(t *testing.T) {
	r := setupReading(t)
	read := func(ctx context.Context, id int, seconds float64) error {
		found, err := db.Select(ctx, r.DB, (*item).columns, selectItems+", pg_sleep(?) WHERE id = ?", seconds, strconv.Itoa(id))
		return only(id, found, err)
	}
	leading, leave := context.WithCancel(t.Context())
	defer leave()
	errs, gone := make([]error, 20), make(chan error, 1)
	var all sync.WaitGroup
	r.locked(t, func() {
		r.busy(t, &all, func() { _ = read(leading, 0, 60) })
		go func() { gone <- read(leading, 1, 60) }()
		r.full(t, 1)
		for i := range errs {
			all.Go(func() { errs[i] = read(t.Context(), i, 0) })
		}
		r.full(t, 1+len(errs))
	})
	// One of those that ran alone is killed: its successor leads all others, and sleeps.
	var killed bool
	require.NoError(t, r.watch.QueryRow(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE application_name = 'cleave-order' AND state = 'active' LIMIT 1`).Scan(&killed))
	r.full(t, 0)
	leave()
	require.Equal(t, fault.Canceled, fault.KindOf(<-gone))
	all.Wait()
	require.NoError(t, errors.Join(errs...))
	r.idle(t)
}

func TestSharedReads_Abandoned(t *testing.T) {
	r := setupReading(t)
	var all sync.WaitGroup
	var err error
	r.locked(t, func() {
		r.busy(t, &all, func() { _ = r.item(t.Context(), 0) })
		waiting, leave := context.WithCancel(t.Context())
		left := make(chan error, 1)
		go func() { left <- r.item(waiting, 1) }()
		r.full(t, 1)
		leave()
		err = <-left
		r.full(t, 0)
		waiting, leave = context.WithCancel(t.Context())
		go func() { left <- r.item(waiting, 1) }()
		r.full(t, 1)
		r.HandOver(leave)
		require.Equal(t, fault.Canceled, fault.KindOf(<-left))
	})
	require.Equal(t, fault.Canceled, fault.KindOf(err))
	all.Wait()
	r.idle(t)
}

// TestSharedReads_Races has readers leave at any moment, and those that stay find what they have written.
func TestSharedReads_Races(t *testing.T) {
	r := setupReading(t)
	const readers, times = 24, 60
	errs := make([]error, readers)
	var all sync.WaitGroup
	for i := range readers {
		all.Go(func() {
			for n := int64(1); n <= times && errs[i] == nil; n++ {
				if i%2 == 0 {
					ctx, cancel := context.WithTimeout(t.Context(), rand.N(2*time.Millisecond))
					deadline, _ := ctx.Deadline()
					if err := r.item(ctx, i); time.Now().Before(deadline) {
						errs[i] = err
					}
					cancel()
					continue
				}
				id := strconv.Itoa(i)
				err := r.Tx(t.Context(), func(ctx context.Context) error {
					return r.Queue(ctx).Exec("UPDATE items SET stock = ? WHERE id = ?", n, id).Error
				})
				if err != nil {
					errs[i] = err
					return
				}
				found, err := db.Select(t.Context(), r.DB, (*item).columns, selectItems+" WHERE id = ?", id)
				if errs[i] = only(i, found, err); errs[i] == nil && found[0].Stock != n {
					errs[i] = fmt.Errorf("stock %d is older than the write of %d", found[0].Stock, n)
				}
			}
		})
	}
	all.Wait()
	require.NoError(t, errors.Join(errs...))
	r.idle(t)
}
