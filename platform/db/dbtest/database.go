package dbtest

import (
	"context"
	"crypto/rand"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"cleave/platform/db"
)

// newDatabase creates a database with a name of its own on the admin's server.
// It goes with the test, or with the server if that has ended before.
func newDatabase(t testing.TB, admin string, ended <-chan struct{}) db.Config {
	t.Helper()
	dsn, err := url.Parse(admin)
	require.NoError(t, err, "CLEAVE_TEST_POSTGRES must have the form postgres://user:password@host:port/database")
	name := "t_" + strings.ToLower(rand.Text()[:10])
	execute(t, admin, "CREATE DATABASE "+name+" TEMPLATE template0")
	t.Cleanup(func() {
		select {
		case <-ended:
			return
		default:
		}
		execute(t, admin, "DROP DATABASE "+name+" WITH (FORCE)")
		execute(t, admin, `DO $$ DECLARE r name; BEGIN
			FOR r IN SELECT rolname FROM pg_roles WHERE starts_with(rolname, '`+name+`_') LOOP EXECUTE format('DROP ROLE %I', r); END LOOP;
		END $$`)
	})
	dsn.Path = "/" + name
	c := db.Config{AdminDSN: dsn.String(), RoleSecret: rand.Text()}
	dsn.User = nil
	c.DSN = dsn.String()
	return c
}

func execute(t testing.TB, dsn, statement string) {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, dsn)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close(ctx)) }()
	_, err = conn.Exec(ctx, statement)
	require.NoError(t, err)
}
