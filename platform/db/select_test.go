package db_test

import (
	"context"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"cleave/platform/db"
	"cleave/platform/db/dbtest"
	"cleave/platform/fault"
)

const selectItems = "SELECT id, name, stock FROM items"

func (i *item) columns() []any { return []any{&i.ID, &i.Name, &i.Stock} }

func TestSelect(t *testing.T) {
	ctx := context.Background()
	named := func(id string, stock int64) item { return item{ID: id, Name: "name of " + id, Stock: stock} }
	setup := func(t *testing.T, d *db.DB) {
		require.NoError(t, d.Tx(ctx, func(ctx context.Context) error {
			for _, id := range []string{"a", "b", "c"} {
				if err := queue(ctx, d, id); err != nil {
					return err
				}
			}
			return d.Queue(ctx).Exec("UPDATE items SET stock = 7 WHERE id = 'b'").Error
		}))
	}
	t.Run("Rows", func(t *testing.T) {
		each(t, func(t *testing.T, d *db.DB) {
			setup(t, d)
			for range 2 { // without and with a prepared statement in the connection's cache
				found, err := db.Select(ctx, d, (*item).columns, selectItems+" WHERE id > ? AND stock <= ? ORDER BY id DESC", "a", 7)
				require.NoError(t, err)
				require.Equal(t, []item{named("c", 0), named("b", 7)}, found)
				found, err = db.Select(ctx, d, (*item).columns, selectItems+" WHERE id = ?", "z")
				require.NoError(t, err)
				require.Empty(t, found)
			}
		})
	})
	t.Run("InTx", func(t *testing.T) {
		each(t, func(t *testing.T, d *db.DB) {
			inside := func(ctx context.Context) error {
				require.NoError(t, queue(ctx, d, "a"))
				found, err := db.Select(ctx, d, (*item).columns, selectItems+" WHERE id = ?", "a")
				require.NoError(t, err)
				require.Equal(t, []item{named("a", 0)}, found)
				found, err = db.Select(db.Detach(ctx), d, (*item).columns, selectItems)
				require.NoError(t, err)
				require.Empty(t, found, "what the transaction has written is not seen outside")
				return errRefused
			}
			require.ErrorIs(t, d.Tx(ctx, inside), errRefused)
			require.ErrorIs(t, d.Lazy(ctx, func(ctx context.Context) error {
				found, err := db.Select(ctx, d, (*item).columns, selectItems)
				require.NoError(t, err)
				require.Empty(t, found)
				return d.Tx(ctx, inside)
			}), errRefused)
		})
	})
	t.Run("AfterTheEnd", func(t *testing.T) {
		each(t, func(t *testing.T, d *db.DB) {
			for _, unit := range []func(context.Context, func(context.Context) error) error{d.Tx, d.Lazy} {
				var late context.Context
				require.NoError(t, unit(ctx, func(ctx context.Context) error { late = ctx; return nil }))
				_, err := db.Select(late, d, (*item).columns, selectItems)
				require.ErrorContains(t, err, "has ended")
			}
		})
	})
	t.Run("Errors", func(t *testing.T) {
		each(t, func(t *testing.T, d *db.DB) {
			setup(t, d)
			_, err := db.Select(ctx, d, (*item).columns, "DELETE FROM items RETURNING id, name, stock")
			require.ErrorContains(t, err, "writes need a transaction")
			_, err = db.Select(ctx, d, func(i *item) []any { return []any{&i.Stock} }, "SELECT id FROM items")
			require.Error(t, err, "a text is no number")
			_, err = db.Select(ctx, d, func(i *item) []any { return []any{&i.ID} }, selectItems)
			require.Error(t, err, "too few fields")
			_, err = db.Select(ctx, d, (*item).columns, "SELECT nothing FROM items")
			require.Error(t, err)
			ended, cancel := context.WithCancel(ctx)
			cancel()
			_, err = db.Select(ended, d, (*item).columns, selectItems)
			require.Equal(t, fault.Canceled, fault.KindOf(err), "%v", err)
			found, err := db.Select(ctx, d, (*item).columns, selectItems)
			require.NoError(t, err)
			require.Len(t, found, 3, "no error has cost a connection or a row")
		})
	})
}

type colour string

// scanned keeps what the driver gave it.
type scanned string

func (s *scanned) Scan(v any) error {
	*s = scanned(fmt.Sprintf("%T", v))
	return nil
}

// kinds has fields that are read without pgx's plans, and others.
type kinds struct {
	ID          string
	Text        string
	Named       colour
	Own         scanned
	Four, Eight int64
	Small       int
	Narrow      int32
	Flag        bool
	Part        float64
}

func (k *kinds) columns() []any {
	return []any{&k.ID, &k.Text, &k.Named, &k.Own, &k.Four, &k.Eight, &k.Small, &k.Narrow, &k.Flag, &k.Part}
}

func TestSelect_Kinds(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	const id = "0197a5c5-2c7d-7b60-9e1f-6a4b8d0c2e55"
	d := dbtest.Open(t, dbtest.Postgres(t), "order", itemMigrations, constraints)
	for range 2 {
		found, err := db.Select(ctx, d, (*kinds).columns, `SELECT ?::uuid, 'ä'::text, 'red'::varchar, 'own'::text,
			-4::int4, -9223372036854775807::int8, -2::int2, 2147483647::int4, TRUE, 0.5::float8`, id)
		require.NoError(t, err)
		require.Equal(t, []kinds{{
			ID: id, Text: "ä", Named: "red", Own: "string", Four: -4, Eight: -math.MaxInt64, Small: -2, Narrow: math.MaxInt32, Flag: true, Part: 0.5,
		}}, found)
	}
	text := func(s *string) []any { return []any{s} }
	_, err := db.Select(ctx, d, text, "SELECT NULL::text AS reason")
	require.ErrorContains(t, err, "column reason")
	_, err = db.Select(ctx, d, text, "SELECT 'a'::text, 'b'::text")
	require.ErrorContains(t, err, "2 columns")
	_, err = db.Select(ctx, d, func(n *int32) []any { return []any{n} }, "SELECT 2147483648::int8 AS big")
	require.ErrorContains(t, err, "column big")
}

// The rows of a join repeat texts, and what one row has in common with the last is not read again.
func TestSelect_RepeatedTexts(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	d := dbtest.Open(t, dbtest.Postgres(t), "order", itemMigrations, constraints)
	columns := func(k *kinds) []any { return []any{&k.ID, &k.Text, &k.Named, &k.Eight} }
	const query = `SELECT ('0197a5c5-2c7d-7b60-9e1f-00000000000' || n / 2 % 3)::uuid, 'text' || n / 3 % 3, ('red' || n / 4 % 3)::varchar, n
		FROM generate_series(0::int8, 99) AS n ORDER BY n`
	found, err := db.Select(ctx, d, columns, query)
	require.NoError(t, err)
	want := make([]kinds, 100)
	for n := range want {
		want[n] = kinds{
			ID: fmt.Sprint("0197a5c5-2c7d-7b60-9e1f-00000000000", n/2%3), Text: fmt.Sprint("text", n/3%3), Named: colour(fmt.Sprint("red", n/4%3)), Eight: int64(n),
		}
	}
	require.Equal(t, want, found)
}
