// Package dbtest gives tests real databases: SQLite files and Postgres
// databases of their own.
//
// Postgres comes from CLEAVE_TEST_POSTGRES, the DSN of an admin role, when it
// is set. Otherwise the first use in a test process starts a private cluster
// from the server's programs on this machine, which ends with the process.
package dbtest

import (
	"context"
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"

	"cleave/platform/db"
)

// Each runs fn as the subtests "sqlite" and "postgres", each with an empty
// database that is ready for db.Setup.
func Each(t *testing.T, fn func(t *testing.T, c db.Config)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { fn(t, SQLite(t)) })
}

// SQLite is an empty data folder.
func SQLite(t testing.TB) db.Config {
	t.Helper()
	return db.Config{Dir: t.TempDir()}
}

// Open sets up, opens and migrates the module's database, and closes it when
// the test ends.
func Open(t testing.TB, c db.Config, module string, migrations fs.FS, constraints db.Constraints) *db.DB {
	t.Helper()
	ctx := context.Background()
	require.NoError(t, db.Setup(ctx, c, []string{module}))
	d, err := db.Open(ctx, c, module, constraints)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	_, err = d.Migrate(ctx, migrations)
	require.NoError(t, err)
	return d
}

