// Package dbtest gives tests real databases: SQLite files and Postgres
// databases of their own.
//
// Postgres comes from CLEAVE_TEST_POSTGRES, the DSN of an admin role, when it
// is set. Otherwise the first use in a test process starts a private cluster,
// shared by the process, from the server's programs on this machine or, when
// there are none, downloaded ones. The cluster ends with the process, however
// that ends; a TestMain that calls Main waits for it.
package dbtest

import (
	"context"
	"io/fs"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"cleave/platform/db"
)

// Each runs fn as the subtests "sqlite" and "postgres", each with an empty
// database that is ready for db.Setup.
func Each(t *testing.T, fn func(t *testing.T, c db.Config)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { fn(t, SQLite(t)) })
	t.Run("postgres", func(t *testing.T) { fn(t, Postgres(t)) })
}

// SQLite is an empty data folder.
func SQLite(t testing.TB) db.Config {
	t.Helper()
	return db.Config{Dir: t.TempDir()}
}

// Postgres is an empty database, dropped with its roles when the test ends.
// The private cluster runs with fsync off: see Cluster for tests of durability.
func Postgres(t testing.TB) db.Config {
	t.Helper()
	if dsn := os.Getenv("CLEAVE_TEST_POSTGRES"); dsn != "" {
		return newDatabase(t, dsn, nil)
	}
	shared.once.Do(func() { shared.server, shared.err = start(Options{}) })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.server.Database(t)
}

// Open sets up, opens and migrates the module's database, and closes it when
// the test ends. migrations may be nil.
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

// Main runs the tests and stops the shared cluster before the process exits:
//
//	func TestMain(m *testing.M) { dbtest.Main(m) }
//
// Without it the cluster also ends, but shortly after the process.
func Main(m *testing.M) {
	code := m.Run()
	if shared.server != nil {
		shared.server.Stop()
	}
	os.Exit(code)
}
