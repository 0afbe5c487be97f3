package db_test

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"cleave/platform/db"
	"cleave/platform/db/dbtest"
	"cleave/platform/fault"
)

// Names that Postgres reserves are among them: order, user.
var modules = []string{"order", "user", "notification"}

// No module reaches what belongs to another one, in every ordered pair.
func TestModulesAreIsolated(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c := dbtest.Postgres(t)
	dbs := map[string]*db.DB{}
	for _, m := range modules {
		dbs[m] = dbtest.Open(t, c, m, itemMigrations, nil)
	}
	refused := func(t *testing.T, d *db.DB, statement string) {
		t.Helper()
		err := d.Tx(ctx, func(ctx context.Context) error { return d.Conn(ctx).Exec(statement).Error })
		var pg *pgconn.PgError
		require.ErrorAs(t, err, &pg, statement)
		require.Equal(t, "42501", pg.Code, "%s: %v", statement, err) // insufficient_privilege
	}
	for _, from := range modules {
		for _, to := range modules {
			if from == to {
				continue
			}
			t.Run(from+"To"+to, func(t *testing.T) {
				schema := pgx.Identifier{to}.Sanitize()
				role := pgx.Identifier{databaseOf(t, c) + "_" + to}.Sanitize()
				for _, table := range []string{"items", "parts", "outbox", "inbox", "sagas", "idempotency_keys", "secrets", "audit", "audit_head", "platform_versions", "module_versions"} {
					refused(t, dbs[from], fmt.Sprintf("SELECT * FROM %s.%s", schema, table))
					refused(t, dbs[from], fmt.Sprintf("INSERT INTO %s.%s DEFAULT VALUES", schema, table))
					refused(t, dbs[from], fmt.Sprintf("DELETE FROM %s.%s", schema, table))
					refused(t, dbs[from], fmt.Sprintf("DROP TABLE %s.%s", schema, table))
				}
				for _, statement := range []string{
					"CREATE TABLE %s.mine (id int)", "ALTER TABLE %s.items ADD COLUMN mine int", "DROP SCHEMA %s CASCADE",
					"GRANT ALL ON SCHEMA %s TO PUBLIC", "CREATE INDEX mine ON %s.items (name)",
				} {
					refused(t, dbs[from], fmt.Sprintf(statement, schema))
				}
				refused(t, dbs[from], "SET ROLE "+role)
				refused(t, dbs[from], "ALTER ROLE "+role+" PASSWORD 'mine'")
			})
		}
		t.Run(from+"Elsewhere", func(t *testing.T) {
			for _, statement := range []string{
				"CREATE TABLE public.mine (id int)", "CREATE SCHEMA mine", "CREATE TEMPORARY TABLE mine (id int)", "CREATE ROLE mine",
				"SELECT rolpassword FROM pg_authid", "COPY items TO PROGRAM 'true'",
			} {
				refused(t, dbs[from], statement)
			}
		})
	}
}

func TestSetup(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	t.Run("Concurrently", func(t *testing.T) {
		t.Parallel()
		c := dbtest.Postgres(t)
		var group errgroup.Group
		for range 4 {
			group.Go(func() error { return db.Setup(ctx, c, modules) })
		}
		require.NoError(t, group.Wait())
		for _, m := range modules {
			dbtest.Open(t, c, m, itemMigrations, nil)
		}
	})
	t.Run("ClosedToOthers", func(t *testing.T) {
		t.Parallel()
		c := dbtest.Postgres(t)
		require.NoError(t, db.Setup(ctx, c, modules[:1]))
		name := databaseOf(t, c)
		admin(t, c, fmt.Sprintf("CREATE ROLE %s_other LOGIN PASSWORD 'other'", name))
		u, err := url.Parse(c.AdminDSN)
		require.NoError(t, err)
		u.User = url.UserPassword(name+"_other", "other")
		_, err = db.Open(ctx, db.Config{Modules: map[string]string{"order": u.String()}}, "order", nil)
		require.Equal(t, "database_login", fault.CodeOf(err), "%v", err)
		require.ErrorContains(t, err, "may not connect")
	})
	t.Run("WithoutAdmin", func(t *testing.T) {
		t.Parallel()
		c := dbtest.Postgres(t)
		require.NoError(t, db.Setup(ctx, c, modules[:1]))
		c.AdminDSN = ""
		require.NoError(t, db.Setup(ctx, c, modules[:1]))
		require.Equal(t, "database_login", fault.CodeOf(db.Setup(ctx, c, modules)), "a module without a role")
	})
	t.Run("OnlyAdmin", func(t *testing.T) {
		t.Parallel()
		c := dbtest.Postgres(t)
		c.DSN, c.RoleSecret = "", "" // derived from the admin's DSN and password
		d := dbtest.Open(t, c, "order", itemMigrations, nil)
		require.NoError(t, d.Tx(ctx, func(ctx context.Context) error { return add(ctx, d, "a") }))
	})
	t.Run("DSNNamesTheDatabase", func(t *testing.T) {
		t.Parallel()
		c := dbtest.Postgres(t)
		c.AdminDSN = withDatabase(t, c.AdminDSN, "postgres")
		dbtest.Open(t, c, "order", itemMigrations, nil)
	})
	t.Run("ChangedSecret", func(t *testing.T) {
		t.Parallel()
		c := dbtest.Postgres(t)
		require.NoError(t, db.Setup(ctx, c, modules[:1]))
		c.RoleSecret = "another secret"
		_, err := db.Open(ctx, c, "order", nil)
		require.Equal(t, "database_login", fault.CodeOf(err))
		dbtest.Open(t, c, "order", nil, nil)
	})
	t.Run("AdminIsNotSuperuser", func(t *testing.T) {
		t.Parallel()
		c := dbtest.Postgres(t)
		name := databaseOf(t, c)
		admin(t, c, fmt.Sprintf("CREATE ROLE %[1]s_owner LOGIN CREATEROLE PASSWORD 'owner'", name))
		owner := c
		u, err := url.Parse(c.AdminDSN)
		require.NoError(t, err)
		u.User = url.UserPassword(name+"_owner", "owner")
		owner.AdminDSN = u.String()
		err = db.Setup(ctx, owner, modules)
		require.Equal(t, "database_admin", fault.CodeOf(err), "it does not own the database")
		admin(t, c, fmt.Sprintf("ALTER DATABASE %[1]s OWNER TO %[1]s_owner", name))
		for range 2 {
			require.NoError(t, db.Setup(ctx, owner, modules))
		}
		d := dbtest.Open(t, owner, "order", itemMigrations, nil)
		require.NoError(t, d.Tx(ctx, func(ctx context.Context) error { return add(ctx, d, "a") }))
	})
	t.Run("PowerfulRole", func(t *testing.T) {
		t.Parallel()
		c := dbtest.Postgres(t)
		admin(t, c, fmt.Sprintf("CREATE ROLE %s_order LOGIN CREATEDB", databaseOf(t, c)))
		require.Equal(t, "database_role", fault.CodeOf(db.Setup(ctx, c, modules)))
		admin(t, c, fmt.Sprintf("ALTER ROLE %s_order NOCREATEDB", databaseOf(t, c)))
		require.NoError(t, db.Setup(ctx, c, modules))
	})
	t.Run("ForeignSchema", func(t *testing.T) {
		t.Parallel()
		c := dbtest.Postgres(t)
		admin(t, c, `CREATE SCHEMA "user"`)
		require.Equal(t, "database_schema", fault.CodeOf(db.Setup(ctx, c, modules)))
		admin(t, c, `DROP SCHEMA "user"`)
		require.NoError(t, db.Setup(ctx, c, modules))
	})
	t.Run("ModuleName", func(t *testing.T) {
		t.Parallel()
		for _, name := range []string{"", "Order", "a-b", "../x", "1a", "a;b", strings.Repeat("a", 32)} {
			require.Equal(t, "module_name", fault.CodeOf(db.Setup(ctx, dbtest.SQLite(t), []string{name})), name)
		}
	})
}

func databaseOf(t *testing.T, c db.Config) string {
	t.Helper()
	u, err := url.Parse(c.DSN)
	require.NoError(t, err)
	return strings.TrimPrefix(u.Path, "/")
}
