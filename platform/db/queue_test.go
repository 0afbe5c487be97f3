package db_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"cleave/platform/db"
	"cleave/platform/db/dbtest"
	"cleave/platform/fault"
)

func TestQueue(t *testing.T) {
	ctx := context.Background()
	t.Run("KeepsOrder", func(t *testing.T) {
		each(t, func(t *testing.T, d *db.DB) {
			require.NoError(t, d.Tx(ctx, func(ctx context.Context) error {
				require.NoError(t, queue(ctx, d, "a"))
				require.NoError(t, d.Queue(ctx).Model(&item{ID: "a"}).Update("stock", 5).Error)
				require.NoError(t, d.Queue(ctx).Exec("UPDATE items SET stock = stock * 2").Error)
				require.NoError(t, d.Queue(ctx).Exec("UPDATE items SET stock = stock - 1").Error)
				return nil
			}))
			var a item
			require.NoError(t, d.Conn(ctx).First(&a).Error)
			require.EqualValues(t, 9, a.Stock)
		})
	})
	t.Run("SentBeforeConn", func(t *testing.T) {
		each(t, func(t *testing.T, d *db.DB) {
			require.NoError(t, d.Tx(ctx, func(ctx context.Context) error {
				require.NoError(t, queue(ctx, d, "a"))
				require.Equal(t, []string{"a"}, ids(t, ctx, d))
				require.NoError(t, queue(ctx, d, "b"))
				res := d.Conn(ctx).Exec("UPDATE items SET stock = 1")
				require.NoError(t, res.Error)
				require.EqualValues(t, 2, res.RowsAffected)
				require.NoError(t, queue(ctx, d, "c"))
				var n int
				require.NoError(t, d.Conn(ctx).Raw("SELECT count(*) FROM items").Row().Scan(&n))
				require.Equal(t, 3, n)
				return queue(ctx, d, "d")
			}))
			require.Equal(t, []string{"a", "b", "c", "d"}, ids(t, ctx, d))
		})
	})
	// All statements of a transaction that only queued travel as one implicit
	// transaction; each of these fails at another place of it.
	t.Run("Atomic", func(t *testing.T) {
		each(t, func(t *testing.T, d *db.DB) {
			require.NoError(t, d.Tx(ctx, func(ctx context.Context) error { return queue(ctx, d, "taken") }))
			for place, order := range map[string][]string{
				"First": {"taken", "a", "b"}, "Middle": {"a", "taken", "b"}, "Last": {"a", "b", "taken"},
			} {
				for range 2 { // without and with prepared statements in the connection's cache
					err := d.Tx(ctx, func(ctx context.Context) error {
						for _, id := range order {
							_ = queue(ctx, d, id)
						}
						return nil
					})
					require.Truef(t, db.IsUnique(err, "items_pkey") || db.IsUnique(err, "items_name_key"), "%s: %v", place, err)
					require.Equal(t, []string{"taken"}, ids(t, ctx, d), place)
				}
			}
			require.NoError(t, d.Tx(ctx, func(ctx context.Context) error { return queue(ctx, d, "a") }))
		})
	})
	t.Run("AtomicWithConn", func(t *testing.T) {
		each(t, func(t *testing.T, d *db.DB) {
			require.ErrorIs(t, d.Tx(ctx, func(ctx context.Context) error {
				require.NoError(t, add(ctx, d, "a"))
				require.NoError(t, queue(ctx, d, "b"))
				_ = d.Queue(ctx).Create(&item{ID: "c", Name: "name of a"}).Error
				return nil
			}), errNameTaken)
			require.Empty(t, ids(t, ctx, d))
			require.NoError(t, d.Tx(ctx, func(ctx context.Context) error { return add(ctx, d, "a") }))
		})
	})
	t.Run("ViolationAtCommit", func(t *testing.T) {
		each(t, func(t *testing.T, d *db.DB) {
			for _, use := range []func(context.Context, string) error{
				func(ctx context.Context, sql string) error { return d.Queue(ctx).Exec(sql).Error },
				func(ctx context.Context, sql string) error { return d.Conn(ctx).Exec(sql).Error },
			} {
				err := d.Tx(ctx, func(ctx context.Context) error {
					require.NoError(t, queue(ctx, d, "a"))
					require.NoError(t, use(ctx, "INSERT INTO parts (item_id, no) VALUES ('missing', 1)"))
					return nil
				})
				require.Equal(t, "constraint_violated", fault.CodeOf(err))
				require.Empty(t, ids(t, ctx, d))
			}
			require.NoError(t, d.Tx(ctx, func(ctx context.Context) error { return queue(ctx, d, "a") }))
		})
	})
	// An error that appears while rows are read reaches only their reader.
	t.Run("UnnoticedError", func(t *testing.T) {
		t.Parallel()
		d := dbtest.Open(t, dbtest.Postgres(t), "order", itemMigrations, constraints)
		for _, insert := range []func(context.Context, *db.DB, string) error{add, queue} {
			err := d.Tx(ctx, func(ctx context.Context) error {
				require.Error(t, d.Conn(ctx).Raw("SELECT 1 / (3 - n) FROM generate_series(1, 5) n").Scan(&[]int{}).Error)
				_ = insert(ctx, d, "a")
				return nil
			})
			require.Error(t, err, "nothing was committed")
		}
		require.ErrorContains(t, d.Tx(ctx, func(ctx context.Context) error {
			_ = d.Conn(ctx).Raw("SELECT 1 / (3 - n) FROM generate_series(1, 5) n").Scan(&[]int{}).Error
			return nil
		}), "instead of committing")
		require.Empty(t, ids(t, ctx, d))
	})
	t.Run("NoReadsAndNoRowsAffected", func(t *testing.T) {
		each(t, func(t *testing.T, d *db.DB) {
			type counted struct {
				ID int64 `gorm:"primaryKey;autoIncrement"` // needs RETURNING
			}
			for name, read := range map[string]func(context.Context) error{
				"First":     func(ctx context.Context) error { return d.Queue(ctx).First(&item{}).Error },
				"Row":       func(ctx context.Context) error { return d.Queue(ctx).Raw("SELECT 1").Row().Err() },
				"Scan":      func(ctx context.Context) error { return d.Queue(ctx).Raw("SELECT 1").Scan(new(int)).Error },
				"Returning": func(ctx context.Context) error { return d.Queue(ctx).Table("items").Create(&counted{}).Error },
			} {
				err := d.Tx(ctx, func(ctx context.Context) error {
					require.ErrorContains(t, read(ctx), "cannot read", name)
					return nil
				})
				require.ErrorContains(t, err, "cannot read", name)
			}
			require.NoError(t, d.Tx(ctx, func(ctx context.Context) error {
				res := d.Queue(ctx).Create(&item{ID: "a", Name: "a"})
				require.Zero(t, res.RowsAffected)
				return res.Error
			}))
		})
	})
	t.Run("ArgumentsAreCopied", func(t *testing.T) {
		each(t, func(t *testing.T, d *db.DB) {
			require.NoError(t, d.Tx(ctx, func(ctx context.Context) error {
				id, name, stock := []byte("a"), "first", sql.NullInt64{Int64: 1, Valid: true}
				err := d.Queue(ctx).Exec("INSERT INTO items (id, name, stock) VALUES (?, ?, ?)", string(id), &name, &stock).Error
				require.NoError(t, err)
				err = d.Queue(ctx).Exec("INSERT INTO outbox (id, type, key, at, payload) VALUES ('e', '', '', 0, ?)", id).Error
				require.NoError(t, err)
				id[0], name, stock.Int64 = 'b', "second", 2
				return nil
			}))
			var a item
			require.NoError(t, d.Conn(ctx).First(&a).Error)
			require.Equal(t, item{ID: "a", Name: "first", Stock: 1}, a)
			var payload []byte
			require.NoError(t, d.Conn(ctx).Raw("SELECT payload FROM outbox").Row().Scan(&payload))
			require.Equal(t, "a", string(payload))
		})
	})
}
