package db_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"cleave/platform/db"
)

func TestLazy(t *testing.T) {
	ctx := context.Background()
	write := func(ctx context.Context, d *db.DB, id string) error {
		return d.Tx(ctx, func(ctx context.Context) error { return add(ctx, d, id) })
	}
	refuse := func(ctx context.Context, d *db.DB, id string) error {
		return d.Tx(ctx, func(ctx context.Context) error {
			if err := add(ctx, d, id); err != nil {
				return err
			}
			return errRefused
		})
	}
	t.Run("BeginsWithFirstTx", func(t *testing.T) {
		each(t, func(t *testing.T, d *db.DB) {
			require.NoError(t, d.Lazy(ctx, func(ctx context.Context) error {
				require.False(t, db.InTx(ctx))
				require.Empty(t, ids(t, ctx, d))
				require.Error(t, add(ctx, d, "outside"), "the pool does not write")
				require.Error(t, queue(ctx, d, "outside"))
				require.NoError(t, write(ctx, d, "a"))
				require.True(t, db.InTx(ctx))
				require.Equal(t, []string{"a"}, ids(t, ctx, d), "Conn is the transaction now")
				require.NoError(t, write(ctx, d, "b"))
				require.NoError(t, queue(ctx, d, "c"))
				require.Empty(t, ids(t, context.Background(), d), "seen outside before the unit's end")
				return nil
			}))
			require.Equal(t, []string{"a", "b", "c"}, ids(t, ctx, d))
		})
	})
	t.Run("ErrorRollsBack", func(t *testing.T) {
		each(t, func(t *testing.T, d *db.DB) {
			require.ErrorIs(t, d.Lazy(ctx, func(ctx context.Context) error {
				require.NoError(t, write(ctx, d, "a"))
				return errRefused
			}), errRefused)
			require.PanicsWithValue(t, "boom", func() {
				_ = d.Lazy(ctx, func(ctx context.Context) error {
					require.NoError(t, write(ctx, d, "a"))
					panic("boom")
				})
			})
			require.Empty(t, ids(t, ctx, d))
			require.NoError(t, write(ctx, d, "a"))
		})
	})
	t.Run("FailedTxStartsAfresh", func(t *testing.T) {
		each(t, func(t *testing.T, d *db.DB) {
			require.NoError(t, d.Lazy(ctx, func(ctx context.Context) error {
				require.ErrorIs(t, refuse(ctx, d, "a"), errRefused)
				require.False(t, db.InTx(ctx))
				require.Empty(t, ids(t, ctx, d))
				return write(ctx, d, "b")
			}))
			require.Equal(t, []string{"b"}, ids(t, ctx, d))
		})
	})
	t.Run("FailedTxAfterSucceededOne", func(t *testing.T) {
		each(t, func(t *testing.T, d *db.DB) {
			err := d.Lazy(ctx, func(ctx context.Context) error {
				require.NoError(t, write(ctx, d, "a"))
				require.ErrorIs(t, refuse(ctx, d, "b"), errRefused)
				require.ErrorContains(t, write(ctx, d, "c"), "earlier one")
				return nil
			})
			require.ErrorIs(t, err, errRefused)
			require.ErrorContains(t, err, "earlier one")
			require.Empty(t, ids(t, ctx, d))
		})
	})
	t.Run("PanickingTx", func(t *testing.T) {
		each(t, func(t *testing.T, d *db.DB) {
			require.NoError(t, d.Lazy(ctx, func(ctx context.Context) error {
				require.Panics(t, func() {
					_ = d.Tx(ctx, func(ctx context.Context) error {
						require.NoError(t, add(ctx, d, "a"))
						panic("boom")
					})
				})
				return write(ctx, d, "b")
			}))
			require.Equal(t, []string{"b"}, ids(t, ctx, d))
		})
	})
	t.Run("Joins", func(t *testing.T) {
		each(t, func(t *testing.T, d *db.DB) {
			require.ErrorIs(t, d.Tx(ctx, func(ctx context.Context) error {
				require.NoError(t, d.Lazy(ctx, func(ctx context.Context) error { return write(ctx, d, "a") }))
				return errRefused
			}), errRefused, "in a Tx")
			require.ErrorIs(t, d.Lazy(ctx, func(ctx context.Context) error {
				require.NoError(t, d.Lazy(ctx, func(ctx context.Context) error { return write(ctx, d, "a") }))
				return errRefused
			}), errRefused, "in a unit")
			require.ErrorIs(t, d.Lazy(ctx, func(ctx context.Context) error {
				require.ErrorIs(t, d.Lazy(ctx, func(ctx context.Context) error {
					require.NoError(t, write(ctx, d, "a"))
					return errRefused
				}), errRefused)
				return nil
			}), errRefused, "an inner unit's error dooms the outer one")
			require.Empty(t, ids(t, ctx, d))
		})
	})
	t.Run("OuterContextInTx", func(t *testing.T) {
		each(t, func(t *testing.T, d *db.DB) {
			require.ErrorContains(t, d.Lazy(ctx, func(unit context.Context) error {
				return d.Tx(unit, func(context.Context) error { return write(unit, d, "a") })
			}), "use the context that Tx gave")
			require.Empty(t, ids(t, ctx, d))
		})
	})
	t.Run("AfterCommit", func(t *testing.T) {
		each(t, func(t *testing.T, d *db.DB) {
			var ran []string
			require.NoError(t, d.Lazy(ctx, func(ctx context.Context) error {
				d.AfterCommit(ctx, func() { ran = append(ran, "before any Tx") })
				require.Len(t, ran, 1)
				_ = d.Tx(ctx, func(ctx context.Context) error {
					d.AfterCommit(ctx, func() { ran = append(ran, "of a failed Tx") })
					return errRefused
				})
				require.NoError(t, d.Tx(ctx, func(inner context.Context) error {
					d.AfterCommit(inner, func() {
						ran = append(ran, "inner")
						require.Equal(t, []string{"a"}, ids(t, context.Background(), d))
						require.Error(t, d.Conn(ctx).First(&item{}).Error, "the unit has ended")
					})
					return add(inner, d, "a")
				}))
				d.AfterCommit(ctx, func() { ran = append(ran, "outer") })
				require.Len(t, ran, 1)
				return nil
			}))
			require.Equal(t, []string{"before any Tx", "inner", "outer"}, ran)
		})
	})
	t.Run("Ended", func(t *testing.T) {
		each(t, func(t *testing.T, d *db.DB) {
			var unit, failed context.Context
			require.NoError(t, d.Lazy(ctx, func(ctx context.Context) error {
				unit = ctx
				_ = d.Tx(ctx, func(ctx context.Context) error {
					failed = ctx
					return errRefused
				})
				require.ErrorContains(t, add(failed, d, "a"), "has ended")
				return nil
			}))
			require.ErrorContains(t, write(unit, d, "a"), "has ended")
			require.ErrorContains(t, d.Conn(unit).First(&item{}).Error, "has ended")
			require.Empty(t, ids(t, ctx, d))
		})
	})
}
