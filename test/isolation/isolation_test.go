// Package isolation_test proves on the real modules what the boundary rules
// promise: no module's database role reaches another module's data, after any
// of their migrations.
package isolation_test

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"cleave/modules/notification"
	"cleave/modules/order"
	"cleave/modules/user"
	"cleave/platform/db"
	"cleave/platform/db/dbtest"
	"cleave/platform/module"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

var specs = []module.Spec{user.Module, order.Module, notification.Module}

const insufficientPrivilege = "42501" // SQLSTATE

func TestEveryPairAfterEveryMigration(t *testing.T) {
	t.Parallel()
	c := dbtest.Postgres(t)
	names := make([]string, len(specs))
	longest := 0
	for i, s := range specs {
		names[i] = s.Name
		longest = max(longest, len(files(t, s.Migrations)))
	}
	require.NoError(t, db.Setup(t.Context(), c, names))
	open := map[string]*db.DB{}
	for _, s := range specs {
		d, err := db.Open(t.Context(), c, s.Name, s.Constraints)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, d.Close()) })
		open[s.Name] = d
	}
	admin, err := pgx.Connect(t.Context(), c.AdminDSN)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, admin.Close(context.Background())) })
	for n := range longest {
		for _, s := range specs {
			_, err := open[s.Name].Migrate(t.Context(), first(t, s.Migrations, n+1))
			require.NoError(t, err)
		}
		for _, from := range names {
			for _, to := range names {
				if from != to {
					t.Run(fmt.Sprintf("Migration%d/%sTo%s", n+1, from, to), func(t *testing.T) { tryAll(t, admin, open[from], to) })
				}
			}
		}
	}
}

// tryAll tries every way into every table and sequence of the module to.
func tryAll(t *testing.T, admin *pgx.Conn, from *db.DB, to string) {
	t.Helper()
	schema := pgx.Identifier{to}.Sanitize()
	statements := []string{
		"CREATE TABLE " + schema + ".mine (id int)", "CREATE VIEW mine AS SELECT * FROM " + schema + ".outbox",
		"DROP SCHEMA " + schema + " CASCADE", "CREATE FUNCTION " + schema + ".f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
		"SET ROLE " + pgx.Identifier{admin.Config().Database + "_" + to}.Sanitize(),
	}
	for _, table := range objects(t, admin, to, "r") {
		name := pgx.Identifier{to, table}.Sanitize()
		for _, verb := range []string{
			"SELECT * FROM %s", "SELECT count(*) FROM %s", "INSERT INTO %s DEFAULT VALUES", "DELETE FROM %s", "TRUNCATE %s", "LOCK TABLE %s",
			"ALTER TABLE %s ADD COLUMN mine int", "DROP TABLE %s",
			"CREATE TABLE mine (id int REFERENCES %s)", "COPY %s TO STDOUT",
		} {
			statements = append(statements, fmt.Sprintf(verb, name))
		}
	}
	sequences := objects(t, admin, to, "S")
	require.NotEmpty(t, sequences, "the outbox has a sequence at least")
	for _, s := range sequences {
		name := pgx.Identifier{to, s}.Sanitize()
		statements = append(statements, "SELECT nextval('"+name+"')", "SELECT last_value FROM "+name, "SELECT setval('"+name+"', 1)")
	}
	require.Greater(t, len(statements), 80)
	for _, statement := range statements {
		err := from.Tx(t.Context(), func(ctx context.Context) error { return from.Conn(ctx).Exec(statement).Error })
		var pg *pgconn.PgError
		require.ErrorAs(t, err, &pg, statement)
		require.Equal(t, insufficientPrivilege, pg.Code, "%s: %v", statement, err)
	}
}

// objects lists the relations of a kind in a module's schema, by the
// administrator's eyes: r are tables, S sequences.
func objects(t *testing.T, admin *pgx.Conn, schema, kind string) []string {
	t.Helper()
	rows, err := admin.Query(t.Context(),
		"SELECT relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE nspname = $1 AND relkind::text = $2 ORDER BY 1", schema, kind)
	require.NoError(t, err)
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return names
}

// A module that has its own server or database cannot be reached with another
// module's role either.
func TestOtherDatabasesRefuseTheLogIn(t *testing.T) {
	t.Parallel()
	here, there := dbtest.Postgres(t), dbtest.Postgres(t)
	require.NoError(t, db.Setup(t.Context(), here, []string{"user"}))
	require.NoError(t, db.Setup(t.Context(), there, []string{"order"}))
	d, err := db.Open(t.Context(), here, "user", nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	var role string
	require.NoError(t, d.Conn(t.Context()).Raw("SELECT current_user").Scan(&role).Error)

	admin, err := pgx.Connect(t.Context(), there.AdminDSN)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, admin.Close(context.Background())) })
	var may bool
	require.NoError(t, admin.QueryRow(t.Context(), "SELECT has_database_privilege($1, current_database(), 'CONNECT')", role).Scan(&may))
	require.False(t, may)
}

func files(t *testing.T, migrations fs.FS) []string {
	t.Helper()
	names, err := fs.Glob(migrations, "postgres/*.sql")
	require.NoError(t, err)
	slices.Sort(names)
	return names
}

// first is the migrations up to the n-th.
func first(t *testing.T, migrations fs.FS, n int) fs.FS {
	t.Helper()
	out := fstest.MapFS{}
	for i, name := range files(t, migrations) {
		if i < n {
			data, err := fs.ReadFile(migrations, name)
			require.NoError(t, err)
			out[path.Join("postgres", path.Base(name))] = &fstest.MapFile{Data: data}
		}
	}
	return out
}
