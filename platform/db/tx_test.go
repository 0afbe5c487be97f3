package db_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"cleave/platform/db"
	"cleave/platform/db/dbtest"
	"cleave/platform/fault"
)

var errRefused = errors.New("refused")

func TestTx(t *testing.T) {
	ctx := context.Background()
	t.Run("Commits", func(t *testing.T) {
		each(t, func(t *testing.T, d *db.DB) {
			require.NoError(t, d.Tx(ctx, func(ctx context.Context) error {
				require.NoError(t, add(ctx, d, "a"))
				require.Equal(t, []string{"a"}, ids(t, ctx, d))
				require.Empty(t, ids(t, context.Background(), d), "seen outside before the commit")
				return add(ctx, d, "b")
			}))
			require.Equal(t, []string{"a", "b"}, ids(t, ctx, d))
		})
	})
	t.Run("ErrorRollsBack", func(t *testing.T) {
		each(t, func(t *testing.T, d *db.DB) {
			require.ErrorIs(t, d.Tx(ctx, func(ctx context.Context) error {
				require.NoError(t, add(ctx, d, "a"))
				require.NoError(t, queue(ctx, d, "b"))
				return errRefused
			}), errRefused)
			require.Empty(t, ids(t, ctx, d))
			require.NoError(t, d.Tx(ctx, func(ctx context.Context) error { return add(ctx, d, "a") }))
		})
	})
	t.Run("PanicRollsBackAndGoesOn", func(t *testing.T) {
		each(t, func(t *testing.T, d *db.DB) {
			require.PanicsWithValue(t, "boom", func() {
				_ = d.Tx(ctx, func(ctx context.Context) error {
					require.NoError(t, add(ctx, d, "a"))
					panic("boom")
				})
			})
			require.Empty(t, ids(t, ctx, d))
			require.NoError(t, d.Tx(ctx, func(ctx context.Context) error { return add(ctx, d, "a") }))
		})
	})
	t.Run("EndOfGoroutineRollsBack", func(t *testing.T) {
		each(t, func(t *testing.T, d *db.DB) {
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_ = d.Tx(ctx, func(ctx context.Context) error {
					_ = add(ctx, d, "a")
					runtime.Goexit()
					return nil
				})
			}()
			<-ended
			require.NoError(t, d.Tx(ctx, func(ctx context.Context) error { return add(ctx, d, "b") }))
			require.Equal(t, []string{"b"}, ids(t, ctx, d))
		})
	})
	t.Run("NothingDone", func(t *testing.T) {
		each(t, func(t *testing.T, d *db.DB) {
			require.NoError(t, d.Tx(ctx, func(context.Context) error { return nil }))
		})
	})
	t.Run("FailedStatementDooms", func(t *testing.T) {
		each(t, func(t *testing.T, d *db.DB) {
			err := d.Tx(ctx, func(ctx context.Context) error {
				require.NoError(t, add(ctx, d, "a"))
				require.ErrorIs(t, d.Conn(ctx).Create(&item{ID: "b", Name: "name of a"}).Error, errNameTaken)
				require.ErrorContains(t, add(ctx, d, "c"), "has failed before")
				return nil
			})
			require.ErrorIs(t, err, errNameTaken)
			require.Empty(t, ids(t, ctx, d))
		})
	})
	t.Run("OpenRows", func(t *testing.T) {
		each(t, func(t *testing.T, d *db.DB) {
			require.NoError(t, d.Tx(ctx, func(ctx context.Context) error { return errors.Join(add(ctx, d, "a"), add(ctx, d, "b")) }))
			for _, outcome := range []error{nil, errRefused} {
				err := d.Tx(ctx, func(ctx context.Context) error {
					require.NoError(t, d.Conn(ctx).Exec("UPDATE items SET stock = 1").Error)
					rows, err := d.Conn(ctx).Model(&item{}).Rows() // left open
					require.NoError(t, err)
					require.True(t, rows.Next())
					return outcome
				})
				require.Error(t, err)
				require.ErrorIs(t, d.Tx(ctx, func(ctx context.Context) error {
					require.NoError(t, d.Conn(ctx).Raw("SELECT id FROM items").Row().Err()) // not scanned
					return errRefused
				}), errRefused)
			}
			var a item
			require.NoError(t, d.Conn(ctx).First(&a).Error)
			require.Zero(t, a.Stock)
			require.NoError(t, d.Tx(ctx, func(ctx context.Context) error {
				rows, err := d.Conn(ctx).Model(&item{}).Rows()
				require.NoError(t, err)
				return rows.Close()
			}))
		})
	})
	t.Run("GormTransactionRefused", func(t *testing.T) {
		each(t, func(t *testing.T, d *db.DB) {
			require.ErrorIs(t, d.Conn(ctx).Transaction(func(*gorm.DB) error { return nil }), gorm.ErrInvalidTransaction)
		})
	})
	t.Run("RowsAffected", func(t *testing.T) {
		each(t, func(t *testing.T, d *db.DB) {
			require.NoError(t, d.Tx(ctx, func(ctx context.Context) error {
				require.NoError(t, add(ctx, d, "a"))
				res := d.Conn(ctx).Model(&item{}).Where("id IN ?", []string{"a", "b"}).Update("stock", 3)
				require.NoError(t, res.Error)
				require.EqualValues(t, 1, res.RowsAffected)
				return nil
			}))
		})
	})
}

func TestNestedTx(t *testing.T) {
	ctx := context.Background()
	t.Run("Joins", func(t *testing.T) {
		each(t, func(t *testing.T, d *db.DB) {
			require.ErrorIs(t, d.Tx(ctx, func(ctx context.Context) error {
				require.NoError(t, d.Tx(ctx, func(ctx context.Context) error { return add(ctx, d, "a") }))
				require.Equal(t, []string{"a"}, ids(t, ctx, d))
				return errRefused
			}), errRefused)
			require.Empty(t, ids(t, ctx, d))
		})
	})
	t.Run("ErrorDoomsOuter", func(t *testing.T) {
		each(t, func(t *testing.T, d *db.DB) {
			require.ErrorIs(t, d.Tx(ctx, func(ctx context.Context) error {
				require.NoError(t, add(ctx, d, "a"))
				require.ErrorIs(t, d.Tx(ctx, func(context.Context) error { return errRefused }), errRefused)
				return nil
			}), errRefused)
			require.Empty(t, ids(t, ctx, d))
		})
	})
	t.Run("RecoveredPanicDoomsOuter", func(t *testing.T) {
		each(t, func(t *testing.T, d *db.DB) {
			require.Error(t, d.Tx(ctx, func(ctx context.Context) error {
				require.NoError(t, add(ctx, d, "a"))
				require.Panics(t, func() { _ = d.Tx(ctx, func(context.Context) error { panic("boom") }) })
				return nil
			}))
			require.Empty(t, ids(t, ctx, d))
		})
	})
}

func TestEndedTx(t *testing.T) {
	ctx := context.Background()
	each(t, func(t *testing.T, d *db.DB) {
		var escaped context.Context
		require.NoError(t, d.Tx(ctx, func(ctx context.Context) error {
			escaped = ctx
			require.True(t, db.InTx(ctx))
			return nil
		}))
		require.False(t, db.InTx(escaped))
		require.ErrorContains(t, add(escaped, d, "a"), "has ended")
		require.ErrorContains(t, queue(escaped, d, "a"), "has ended")
		require.ErrorContains(t, d.Conn(escaped).First(&item{}).Error, "has ended")
		require.ErrorContains(t, d.Conn(escaped).Raw("SELECT 1").Row().Err(), "has ended")
		require.ErrorContains(t, d.Tx(escaped, func(context.Context) error { return nil }), "has ended")
		require.ErrorContains(t, d.Lazy(escaped, func(context.Context) error { return nil }), "has ended")
		require.NoError(t, d.Tx(db.Detach(escaped), func(ctx context.Context) error { return add(ctx, d, "b") }))
		require.Equal(t, []string{"b"}, ids(t, ctx, d))
	})
}

func TestOutsideTx(t *testing.T) {
	ctx := context.Background()
	each(t, func(t *testing.T, d *db.DB) {
		require.Error(t, add(ctx, d, "a"))
		require.Error(t, d.Conn(ctx).Exec("DELETE FROM items").Error)
		require.ErrorContains(t, d.Conn(ctx).Raw(" insert into items (id, name) values ('a', 'a') returning id").Scan(new(string)).Error, "writes need")
		require.ErrorContains(t, d.Conn(ctx).Clauses(clause.Returning{}).Create(&item{ID: "a"}).Error, "writes need")
		require.ErrorContains(t, d.Conn(ctx).Raw("UPDATE items SET stock = 1 RETURNING id").Row().Err(), "writes need")
		require.ErrorContains(t, queue(ctx, d, "a"), "needs a transaction")
		require.ErrorContains(t, d.Queue(ctx).First(&item{}).Error, "needs a transaction")
		require.Empty(t, ids(t, ctx, d))
	})
}

func TestAfterCommit(t *testing.T) {
	ctx := context.Background()
	each(t, func(t *testing.T, d *db.DB) {
		var ran []string
		note := func(ctx context.Context, what string) {
			d.AfterCommit(ctx, func() {
				require.NotEmpty(t, ids(t, context.Background(), d), "before the commit")
				ran = append(ran, what)
			})
		}
		require.ErrorIs(t, d.Tx(ctx, func(ctx context.Context) error {
			note(ctx, "rolled back")
			return errRefused
		}), errRefused)
		require.NoError(t, d.Tx(ctx, func(ctx context.Context) error {
			require.NoError(t, add(ctx, d, "a"))
			require.NoError(t, d.Tx(ctx, func(ctx context.Context) error {
				note(ctx, "inner")
				return nil
			}))
			note(ctx, "outer")
			require.Empty(t, ran)
			return nil
		}))
		require.Equal(t, []string{"inner", "outer"}, ran)
		note(ctx, "outside")
		require.Equal(t, []string{"inner", "outer", "outside"}, ran)
	})
}

// Units of two databases in one context do not meet.
func TestTxOfTwoModules(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		t.Parallel()
		order, user := dbtest.Open(t, c, "order", itemMigrations, nil), dbtest.Open(t, c, "user", itemMigrations, nil)
		require.ErrorIs(t, order.Tx(ctx, func(ctx context.Context) error {
			require.NoError(t, add(ctx, order, "a"))
			require.NoError(t, user.Tx(ctx, func(ctx context.Context) error {
				require.NoError(t, add(ctx, order, "b"))
				return add(ctx, user, "c")
			}))
			require.Equal(t, []string{"c"}, ids(t, ctx, user))
			require.True(t, db.InTx(ctx))
			require.False(t, db.InTx(db.Detach(ctx)))
			return errRefused
		}), errRefused)
		require.Empty(t, ids(t, ctx, order))
		require.Equal(t, []string{"c"}, ids(t, ctx, user))
	})
}

func TestTxCanceled(t *testing.T) {
	each(t, func(t *testing.T, d *db.DB) {
		for name, stop := range map[string]func(context.Context) (context.Context, context.CancelFunc){
			"BeforeStatement": context.WithCancel,
			"BeforeCommit":    context.WithCancel,
		} {
			ctx, cancel := stop(context.Background())
			err := d.Tx(ctx, func(ctx context.Context) error {
				require.NoError(t, add(ctx, d, "a"))
				require.NoError(t, queue(ctx, d, "b"))
				cancel()
				if name == "BeforeCommit" {
					return nil
				}
				return add(ctx, d, "c")
			})
			require.ErrorIs(t, err, context.Canceled, name)
			require.Equal(t, fault.Canceled, fault.KindOf(err), name)
			require.Empty(t, ids(t, context.Background(), d), name)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		defer cancel()
		err := d.Tx(ctx, func(ctx context.Context) error {
			require.NoError(t, add(ctx, d, "a"))
			<-ctx.Done()
			return add(ctx, d, "b")
		})
		require.Equal(t, fault.Timeout, fault.KindOf(err))
		require.NoError(t, d.Tx(context.Background(), func(ctx context.Context) error { return add(ctx, d, "c") }))
		require.Equal(t, []string{"c"}, ids(t, context.Background(), d))
	})
}

// 32 writers change one row; no change is lost and every failure is complete.
func TestTxConcurrently(t *testing.T) {
	ctx := context.Background()
	each(t, func(t *testing.T, d *db.DB) {
		require.NoError(t, d.Tx(ctx, func(ctx context.Context) error { return add(ctx, d, "counter") }))
		const writers, rounds = 32, 10
		var wg sync.WaitGroup
		errs := make(chan error, writers*rounds)
		for w := range writers {
			wg.Go(func() {
				for r := range rounds {
					err := d.Tx(ctx, func(ctx context.Context) error {
						res := d.Conn(ctx).Model(&item{ID: "counter"}).Update("stock", gorm.Expr("stock + 1"))
						if res.Error != nil || res.RowsAffected != 1 {
							return fmt.Errorf("%d rows: %w", res.RowsAffected, res.Error)
						}
						if err := queue(ctx, d, fmt.Sprintf("row %02d %02d", w, r)); err != nil {
							return err
						}
						if r%5 == 4 {
							return errRefused
						}
						return nil
					})
					if err != nil && !errors.Is(err, errRefused) {
						errs <- err
					}
				}
			})
		}
		wg.Wait()
		close(errs)
		require.NoError(t, <-errs)
		var counter item
		require.NoError(t, d.Conn(ctx).First(&counter, "id = ?", "counter").Error)
		require.EqualValues(t, writers*rounds*4/5, counter.Stock)
		require.Len(t, ids(t, ctx, d), 1+writers*rounds*4/5)
	})
}
