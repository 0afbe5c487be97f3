package db_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"cleave/platform/db"
	"cleave/platform/db/dbtest"
)

// BenchmarkTx writes one transaction of four statements, an update and three
// inserts, per operation: on Postgres each statement at once and queued, on
// SQLite with a commit each and shared. Both databases sync every commit.
func BenchmarkTx(b *testing.B) {
	server := dbtest.Cluster(b, dbtest.Options{Fsync: true})
	for name, c := range map[string]struct {
		config  func() db.Config
		write   func(ctx context.Context, d *db.DB, n, round int) error
		prepare func(*db.DB)
	}{
		"postgres/Conn":  {func() db.Config { return server.Database(b) }, writeNow, nil},
		"postgres/Queue": {func() db.Config { return server.Database(b) }, writeQueued, nil},
		"sqlite/Each":    {func() db.Config { return dbtest.SQLite(b) }, writeQueued, (*db.DB).CommitEach},
		"sqlite/Grouped": {func() db.Config { return dbtest.SQLite(b) }, writeQueued, nil},
	} {
		for _, clients := range []int{1, 8, 32} {
			b.Run(fmt.Sprintf("%s/%d", name, clients), func(b *testing.B) {
				d := dbtest.Open(b, c.config(), "order", itemMigrations, nil)
				if c.prepare != nil {
					c.prepare(d)
				}
				ctx := context.Background()
				require.NoError(b, d.Tx(ctx, func(ctx context.Context) error {
					for i := range 100 {
						if err := queue(ctx, d, fmt.Sprint(i)); err != nil {
							return err
						}
					}
					return nil
				}))
				run(b, clients, func(n int) error {
					return d.Tx(ctx, func(ctx context.Context) error { return c.write(ctx, d, n, b.N) })
				})
			})
		}
	}
}

func writeNow(ctx context.Context, d *db.DB, n, round int) error {
	return write(ctx, d, n, round, add)
}

func writeQueued(ctx context.Context, d *db.DB, n, round int) error {
	return write(ctx, d, n, round, queue)
}

func write(ctx context.Context, d *db.DB, n, round int, insert func(context.Context, *db.DB, string) error) error {
	err := d.Conn(ctx).Exec("UPDATE items SET stock = stock + 1 WHERE id = ?", fmt.Sprint(n%100)).Error
	for i := 0; i < 3 && err == nil; i++ {
		err = insert(ctx, d, fmt.Sprint(round, n, i))
	}
	return err
}

// run shares b.N operations among the clients.
func run(b *testing.B, clients int, op func(n int) error) {
	var next atomic.Int64
	errs := make(chan error, clients)
	b.ResetTimer()
	for range clients {
		go func() {
			for {
				n := next.Add(1)
				if n > int64(b.N) {
					errs <- nil
					return
				}
				if err := op(int(n)); err != nil {
					errs <- err
					return
				}
			}
		}()
	}
	for range clients {
		require.NoError(b, <-errs)
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tx/s")
}
