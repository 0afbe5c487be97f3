package db_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"cleave/platform/db"
	"cleave/platform/db/dbtest"
	"cleave/platform/fault"
)

func TestTryLock(t *testing.T) {
	ctx := context.Background()
	each(t, func(t *testing.T, d *db.DB) {
		try := func(ctx context.Context, name string) bool {
			held, err := d.TryLock(ctx, name)
			require.NoError(t, err)
			return held
		}
		_, err := d.TryLock(ctx, "a")
		require.ErrorContains(t, err, "needs a transaction")
		for range 2 { // the end of the transaction gives the lock back
			require.NoError(t, d.Tx(ctx, func(ctx context.Context) error {
				require.True(t, try(ctx, "a"))
				if d.Dialect() == "sqlite" {
					return nil // nobody else can be in a transaction
				}
				return d.Tx(db.Detach(ctx), func(ctx context.Context) error {
					require.False(t, try(ctx, "a"))
					require.True(t, try(ctx, "b"))
					return nil
				})
			}))
		}
	})
}

func TestTryLockOfTwoModules(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c := dbtest.Postgres(t)
	order, user := dbtest.Open(t, c, "order", nil, nil), dbtest.Open(t, c, "user", nil, nil)
	require.NoError(t, order.Tx(ctx, func(ctx context.Context) error {
		_, err := user.TryLock(ctx, "a")
		require.ErrorContains(t, err, "needs a transaction", "a transaction of another module")
		held, err := order.TryLock(ctx, "a")
		require.NoError(t, err)
		require.True(t, held)
		return user.Tx(ctx, func(ctx context.Context) error {
			held, err := user.TryLock(ctx, "a")
			require.True(t, held, "modules do not share locks")
			return err
		})
	}))
}

func TestSecret(t *testing.T) {
	ctx := context.Background()
	each(t, func(t *testing.T, d *db.DB) {
		const replicas = 8
		secrets := make([]string, replicas)
		var wg sync.WaitGroup
		for i := range replicas {
			wg.Go(func() {
				secret, err := d.Secret(ctx, "cursor", 32)
				if err == nil {
					secrets[i] = string(secret)
				}
			})
		}
		wg.Wait()
		for _, s := range secrets {
			require.Len(t, s, 32)
			require.Equal(t, secrets[0], s)
		}
		other, err := d.Secret(ctx, "other", 16)
		require.NoError(t, err)
		require.Len(t, other, 16)
	})
}

// A Hold lasts as long as the process, which a second database stands for.
func TestHold(t *testing.T) {
	ctx := context.Background()
	t.Run("sqlite", func(t *testing.T) {
		h, err := dbtest.Open(t, dbtest.SQLite(t), "order", nil, nil).Hold(ctx, "a")
		require.NoError(t, err)
		h.Release()
	})
	t.Run("postgres", func(t *testing.T) {
		c := dbtest.Postgres(t)
		d := dbtest.Open(t, c, "order", nil, nil)
		free := func() (free bool) {
			require.NoError(t, d.Tx(ctx, func(ctx context.Context) (err error) {
				free, err = d.TryLock(ctx, "a")
				return err
			}))
			return free
		}
		require.True(t, free())
		h, err := d.Hold(ctx, "a")
		require.NoError(t, err)
		require.False(t, free())
		_, err = d.Hold(ctx, "a")
		require.Equal(t, "lock_held", fault.CodeOf(err))
		h.Release()
		<-h.Lost()
		require.Eventually(t, free, 10*time.Second, 5*time.Millisecond)
		h.Release()

		h, err = d.Hold(ctx, "a")
		require.NoError(t, err)
		defer h.Release()
		admin, err := pgx.Connect(ctx, c.AdminDSN)
		require.NoError(t, err)
		_, err = admin.Exec(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'cleave-order-lock' AND datname = current_database()")
		require.NoError(t, err)
		require.NoError(t, admin.Close(ctx))
		<-h.Lost()
		require.Eventually(t, free, 10*time.Second, 5*time.Millisecond)
	})
}
