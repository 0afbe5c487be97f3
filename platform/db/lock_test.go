package db_test

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"cleave/platform/db"
	"cleave/platform/db/dbtest"
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

func TestExclusive(t *testing.T) {
	ctx := context.Background()
	each(t, func(t *testing.T, d *db.DB) {
		ran := 0
		require.ErrorIs(t, d.Exclusive(ctx, "a", func(ctx context.Context) error {
			ran++
			require.Equal(t, d.Dialect() == "postgres", db.InTx(ctx))
			if d.Dialect() == "postgres" {
				require.NoError(t, d.Exclusive(db.Detach(ctx), "a", func(context.Context) error {
					ran++
					return nil
				}))
			}
			return errRefused
		}), errRefused)
		require.Equal(t, 1, ran)
	})
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
