package db_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"cleave/platform/db"
	"cleave/platform/db/dbtest"
	"cleave/platform/fault"
)

// conflict makes the transaction of ctx fail with a serialization failure: it
// changes a row that another transaction has changed since it was read.
func conflict(ctx context.Context, d *db.DB) error {
	if err := d.Conn(ctx).Exec("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE").Error; err != nil {
		return err
	}
	var a item
	if err := d.Conn(ctx).First(&a, "id = ?", "a").Error; err != nil {
		return err
	}
	err := d.Tx(db.Detach(ctx), func(ctx context.Context) error {
		return d.Conn(ctx).Exec("UPDATE items SET stock = stock + 10").Error
	})
	if err != nil {
		return err
	}
	return d.Conn(ctx).Model(&a).Update("stock", a.Stock+1).Error
}

func TestRetry(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	setup := func(t *testing.T) *db.DB {
		t.Parallel()
		d := dbtest.Open(t, dbtest.Postgres(t), "order", itemMigrations, constraints)
		require.NoError(t, d.Tx(ctx, func(ctx context.Context) error { return add(ctx, d, "a") }))
		return d
	}
	t.Run("RunsAgain", func(t *testing.T) {
		d := setup(t)
		attempts, committed := 0, 0
		require.NoError(t, d.Tx(ctx, func(ctx context.Context) error {
			attempts++
			d.AfterCommit(ctx, func() { committed++ })
			if attempts <= 2 {
				return conflict(ctx, d)
			}
			return d.Conn(ctx).Exec("UPDATE items SET stock = stock + 1").Error
		}))
		require.Equal(t, 3, attempts)
		require.Equal(t, 1, committed)
		var a item
		require.NoError(t, d.Conn(ctx).First(&a).Error)
		require.EqualValues(t, 21, a.Stock)
	})
	t.Run("GivesUp", func(t *testing.T) {
		d := setup(t)
		attempts := 0
		err := d.Tx(ctx, func(ctx context.Context) error {
			attempts++
			return conflict(ctx, d)
		})
		require.Equal(t, 4, attempts, "the first and three more")
		require.Equal(t, fault.Unavailable, fault.KindOf(err))
		require.Equal(t, "database_contention", fault.CodeOf(err))
	})
	t.Run("BehindAnotherError", func(t *testing.T) {
		d := setup(t)
		attempts := 0
		require.NoError(t, d.Tx(ctx, func(ctx context.Context) error {
			attempts++
			if attempts == 1 && conflict(ctx, d) != nil {
				return errors.New("could not change the item")
			}
			return nil
		}))
		require.Equal(t, 2, attempts)
	})
	t.Run("AtCommit", func(t *testing.T) {
		d := setup(t)
		attempts := 0
		require.NoError(t, d.Tx(ctx, func(ctx context.Context) error {
			attempts++
			if attempts > 1 {
				return nil
			}
			// Write skew: each of two transactions reads what the other writes.
			skew := func(ctx context.Context, id string) error {
				if err := d.Conn(ctx).Exec("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE").Error; err != nil {
					return err
				}
				ids(t, ctx, d)
				return queue(ctx, d, id)
			}
			if err := skew(ctx, "b"); err != nil {
				return err
			}
			return d.Tx(db.Detach(ctx), func(ctx context.Context) error { return skew(ctx, "c") })
		}))
		require.Equal(t, 2, attempts)
		require.Equal(t, []string{"a", "c"}, ids(t, ctx, d))
	})
	t.Run("InnerTx", func(t *testing.T) {
		d := setup(t)
		outer, inner := 0, 0
		require.NoError(t, d.Tx(ctx, func(ctx context.Context) error {
			outer++
			return d.Tx(ctx, func(ctx context.Context) error {
				inner++
				if inner == 1 {
					return conflict(ctx, d)
				}
				return nil
			})
		}))
		require.Equal(t, []int{2, 2}, []int{outer, inner}, "only the outermost runs again")
	})
	t.Run("LazyRunsAsAWhole", func(t *testing.T) {
		d := setup(t)
		units, inner := 0, 0
		require.NoError(t, d.Lazy(ctx, func(ctx context.Context) error {
			units++
			if err := d.Tx(ctx, func(ctx context.Context) error { return add(ctx, d, fmt.Sprint("unit", units)) }); err != nil {
				return err
			}
			return d.Tx(ctx, func(ctx context.Context) error {
				inner++
				if inner <= 2 {
					return d.Conn(ctx).Exec("DO $$ BEGIN RAISE EXCEPTION 'for another transaction' USING ERRCODE = 'deadlock_detected'; END $$").Error
				}
				return nil
			})
		}))
		require.Equal(t, []int{3, 3}, []int{units, inner}, "only the unit runs again")
		require.Equal(t, []string{"a", "unit3"}, ids(t, ctx, d))
	})
	t.Run("LazyAtCommit", func(t *testing.T) {
		d := setup(t)
		units := 0
		require.NoError(t, d.Lazy(ctx, func(ctx context.Context) error {
			units++
			return d.Tx(ctx, func(ctx context.Context) error {
				if err := d.Conn(ctx).Exec("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE").Error; err != nil {
					return err
				}
				ids(t, ctx, d) // the snapshot
				if units == 1 {
					other := d.Tx(db.Detach(ctx), func(ctx context.Context) error { return d.Conn(ctx).Exec("UPDATE items SET stock = 10").Error })
					require.NoError(t, other)
				}
				return d.Queue(ctx).Exec("UPDATE items SET stock = stock + 1").Error
			})
		}))
		require.Equal(t, 2, units)
	})
	t.Run("LazyGivesUp", func(t *testing.T) {
		d := setup(t)
		units := 0
		err := d.Lazy(ctx, func(ctx context.Context) error {
			units++
			return d.Tx(ctx, func(ctx context.Context) error { return conflict(ctx, d) })
		})
		require.Equal(t, "database_contention", fault.CodeOf(err))
		require.Equal(t, 4, units, "the first and three more")
	})
	t.Run("Canceled", func(t *testing.T) {
		d := setup(t)
		ctx, cancel := context.WithCancel(ctx)
		attempts := 0
		require.Error(t, d.Tx(ctx, func(ctx context.Context) error {
			attempts++
			err := conflict(ctx, d)
			cancel()
			return err
		}))
		require.Equal(t, 1, attempts)
	})
}

// The server ends connections at every point of a transaction: nothing of it
// is kept, the fault says that the database is away, and the pool recovers.
func TestLostConnection(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c := dbtest.Postgres(t)
	c.MaxConns = 2
	d := dbtest.Open(t, c, "order", itemMigrations, constraints)
	terminate := func(t *testing.T) { // and wait until they are gone
		admin(t, c, "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'cleave-order'")
	}
	for name, use := range map[string]func(t *testing.T, ctx context.Context) error{
		"BeforeConn": func(t *testing.T, ctx context.Context) error { terminate(t); return add(ctx, d, "b") },
		"BeforeQueueFlush": func(t *testing.T, ctx context.Context) error {
			_ = queue(ctx, d, "b")
			terminate(t)
			return add(ctx, d, "c")
		},
		"BeforeCommit": func(t *testing.T, _ context.Context) error { terminate(t); return nil },
		"BeforeQueueCommit": func(t *testing.T, ctx context.Context) error {
			_ = queue(ctx, d, "b")
			terminate(t)
			return nil
		},
		"BeforeRollback": func(t *testing.T, _ context.Context) error { terminate(t); return errRefused },
	} {
		t.Run(name, func(t *testing.T) {
			err := d.Tx(ctx, func(ctx context.Context) error {
				require.NoError(t, add(ctx, d, "a"))
				return use(t, ctx)
			})
			if name == "BeforeRollback" {
				require.ErrorIs(t, err, errRefused)
			} else {
				require.Equal(t, fault.Unavailable, fault.KindOf(err), "%v", err)
			}
			for range 4 { // more than the pool has: no broken connection is left in it
				require.NoError(t, d.Tx(ctx, func(ctx context.Context) error {
					require.Empty(t, ids(t, ctx, d))
					return nil
				}))
			}
		})
	}
	t.Run("Idle", func(t *testing.T) {
		require.NoError(t, d.Tx(ctx, func(ctx context.Context) error { return queue(ctx, d, "a") }))
		for range 3 {
			terminate(t)
			require.Equal(t, []string{"a"}, ids(t, ctx, d))
			terminate(t)
			found, err := db.Select(ctx, d, (*item).columns, selectItems)
			require.NoError(t, err)
			require.Len(t, found, 1)
			terminate(t)
			require.NoError(t, d.Tx(ctx, func(ctx context.Context) error {
				return d.Queue(ctx).Exec("UPDATE items SET stock = stock + 1").Error
			}))
		}
		var a item
		require.NoError(t, d.Conn(ctx).First(&a).Error)
		require.EqualValues(t, 3, a.Stock)
	})
}

// A server that is down gives Unavailable within the time of the request.
func TestServerDown(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	server := dbtest.Cluster(t, dbtest.Options{})
	c := server.Database(t)
	require.NoError(t, db.Setup(ctx, c, []string{"order"}))
	d, err := db.Open(ctx, c, "order", constraints)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	_, err = d.Migrate(ctx, itemMigrations)
	require.NoError(t, err)
	server.Stop()
	_, selected := db.Select(ctx, d, (*item).columns, selectItems)
	for _, err := range []error{
		selected,
		d.Conn(ctx).First(&item{}).Error,
		d.Tx(ctx, func(ctx context.Context) error { return add(ctx, d, "a") }),
		d.Tx(ctx, func(ctx context.Context) error { return queue(ctx, d, "a") }),
		d.Lazy(ctx, func(ctx context.Context) error {
			return d.Tx(ctx, func(ctx context.Context) error { return add(ctx, d, "a") })
		}),
		d.Ping(ctx),
	} {
		require.Equal(t, fault.Unavailable, fault.KindOf(err), "%v", err)
	}
}
