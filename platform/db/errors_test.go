package db_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"cleave/platform/db"
	"cleave/platform/db/dbtest"
	"cleave/platform/fault"
)

// What the database answers has the kind that tells a caller what to do.
func TestErrorKinds(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	raise := func(code string) string {
		return "DO $$ BEGIN RAISE EXCEPTION 'raised' USING ERRCODE = '" + code + "'; END $$"
	}
	statements := map[string]map[string]fault.Kind{
		"postgres": {
			raise("53100"): fault.Unavailable, // disk full
			raise("53300"): fault.Unavailable, // too many connections
			raise("57P03"): fault.Unavailable, // starting up
			raise("58030"): fault.Unavailable, // input/output error
			raise("08006"): fault.Unavailable, // connection failure
			raise("25006"): fault.Unavailable, // read-only
			raise("57014"): fault.Timeout,     // statement_timeout
			raise("23503"): fault.Internal,    // no constraint of that name
			raise("P0001"): fault.Internal,
			"SELEC 1":      fault.Internal,
		},
		"sqlite": {"SELEC 1": fault.Internal, "SELECT * FROM missing": fault.Internal},
	}
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		t.Parallel()
		d := dbtest.Open(t, c, "order", itemMigrations, constraints)
		for statement, kind := range statements[d.Dialect()] {
			err := d.Tx(ctx, func(ctx context.Context) error { return d.Conn(ctx).Exec(statement).Error })
			require.Error(t, err)
			require.Equal(t, kind, fault.KindOf(err), "%s: %v", statement, err)
		}
		err := d.Tx(ctx, func(ctx context.Context) error { return d.Conn(ctx).First(&item{}).Error })
		require.ErrorIs(t, err, gorm.ErrRecordNotFound)
		own := fault.New(fault.NotFound, "item_not_found", "no such item")
		err = d.Tx(ctx, func(ctx context.Context) error { return own.Wrap(d.Conn(ctx).First(&item{}).Error) })
		require.ErrorIs(t, err, own, "a fault stays")
	})
	t.Run("ReadOnlySQLite", func(t *testing.T) {
		t.Parallel()
		d := dbtest.Open(t, dbtest.SQLite(t), "order", itemMigrations, constraints)
		err := d.Tx(ctx, func(ctx context.Context) error {
			require.NoError(t, d.Conn(ctx).Exec("PRAGMA query_only = 1").Error)
			return add(ctx, d, "a")
		})
		require.Equal(t, fault.Unavailable, fault.KindOf(err), "%v", err)
	})
}
