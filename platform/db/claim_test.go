package db_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cleave/platform/db"
	"cleave/platform/db/dbtest"
	"cleave/platform/fault"
)

func claim(ctx context.Context, d *db.DB, name, query string, args ...any) ([]string, bool, error) {
	return db.Claim(ctx, d, name, func(s *string) []any { return []any{s} }, query, args...)
}

func TestClaim(t *testing.T) {
	ctx := context.Background()
	each(t, func(t *testing.T, d *db.DB) {
		insert := func(ctx context.Context, id string) error {
			return d.Queue(ctx).Exec("INSERT INTO items (id, name) VALUES (?, ?)", id, id).Error
		}
		_, _, err := claim(ctx, d, "a", "SELECT id FROM items")
		require.ErrorContains(t, err, "needs a transaction")
		require.NoError(t, d.Tx(ctx, func(ctx context.Context) error { return insert(ctx, "one") }))
		require.NoError(t, d.Tx(ctx, func(ctx context.Context) error {
			rows, held, err := claim(ctx, d, "a", "SELECT id FROM items WHERE id = ?", "one")
			require.NoError(t, err)
			require.True(t, held)
			require.Equal(t, []string{"one"}, rows)
			require.NoError(t, insert(ctx, "two"))
			if d.Dialect() == "sqlite" {
				return nil
			}
			other, done := context.WithTimeout(db.Detach(ctx), 5*time.Second)
			defer done()
			return d.Tx(other, func(ctx context.Context) error {
				rows, held, err := claim(ctx, d, "a", "SELECT id FROM items")
				require.False(t, held)
				require.Empty(t, rows)
				return err
			})
		}))
		require.NoError(t, d.Tx(ctx, func(ctx context.Context) error {
			rows, _, err := claim(ctx, d, "a", "SELECT id FROM items ORDER BY id")
			require.Equal(t, []string{"one", "two"}, rows, "what the last holder committed")
			return err
		}))
		require.Error(t, d.Tx(ctx, func(ctx context.Context) error {
			_, _, err := claim(ctx, d, "a", "SELECT nothing FROM nowhere")
			require.Error(t, err)
			return err
		}))
	})
}

// What the holder commits while another one asks is seen by the one that gets
// the lock after it: otherwise both would handle the same rows.
func TestClaimSeesTheLastHoldersWork(t *testing.T) {
	t.Parallel()
	d := dbtest.Open(t, dbtest.Postgres(t), "order", itemMigrations, nil)
	require.NoError(t, d.Tx(t.Context(), func(ctx context.Context) error {
		return d.Queue(ctx).Exec("INSERT INTO items (id, name) VALUES ('x', 'x')").Error
	}))
	const workers, each = 4, 50
	errs := make(chan error, workers)
	for range workers {
		go func() {
			for n := 0; n < each; {
				err := d.Tx(t.Context(), func(ctx context.Context) error {
					rows, held, err := db.Claim(ctx, d, "count", func(n *int64) []any { return []any{n} }, "SELECT stock FROM items WHERE id = 'x'")
					if err != nil || !held {
						return err
					}
					n++
					return d.Queue(ctx).Exec("UPDATE items SET stock = ? WHERE id = 'x'", rows[0]+1).Error
				})
				if err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	for range workers {
		require.NoError(t, <-errs)
	}
	var stock int
	require.NoError(t, d.Conn(t.Context()).Raw("SELECT stock FROM items").Scan(&stock).Error)
	require.Equal(t, workers*each, stock)
}

// A hook that is registered too late runs if the work was committed, and only then.
func TestAfterCommitOfAnEndedTransaction(t *testing.T) {
	each(t, func(t *testing.T, d *db.DB) {
		for _, outcome := range []error{nil, fault.New(fault.Conflict, "", "no")} {
			var ended context.Context
			err := d.Tx(t.Context(), func(ctx context.Context) error {
				ended = ctx
				return outcome
			})
			require.Equal(t, outcome == nil, err == nil)
			ran := false
			d.AfterCommit(ended, func() { ran = true })
			require.Equal(t, outcome == nil, ran)
		}
	})
}
