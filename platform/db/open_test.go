package db_test

import (
	"context"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cleave/platform/db"
	"cleave/platform/db/dbtest"
	"cleave/platform/fault"
)

// Wrong settings end in one line that says what to change and shows no password.
func TestOpenWithWrongSettings(t *testing.T) {
	t.Parallel()
	good := dbtest.Postgres(t)
	require.NoError(t, db.Setup(context.Background(), good, []string{"order"}))
	const password = "s3cret-password"
	change := func(edit func(*url.URL)) string {
		u, err := url.Parse(good.AdminDSN)
		require.NoError(t, err)
		u.User = url.UserPassword(u.User.Username(), password)
		edit(u)
		return u.String()
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts and says nothing
	require.NoError(t, err)
	t.Cleanup(func() { _ = silent.Close() })
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	refused := func(u *url.URL) { u.Host = "127.0.0.1:1" }
	unknownHost := func(u *url.URL) { u.Host = "no-such-host.invalid:5432" }
	for name, c := range map[string]struct {
		config db.Config
		kind   fault.Kind
		code   string
		names  []string // what the message must name
	}{
		"RefusedPort":       {db.Config{DSN: change(refused), RoleSecret: password}, fault.Unavailable, "database_unreachable", []string{"127.0.0.1:1", "refused", "db.dsn"}},
		"RefusedAdminPort":  {db.Config{AdminDSN: change(refused)}, fault.Unavailable, "database_unreachable", []string{"127.0.0.1:1", "db.admin_dsn"}},
		"UnknownHost":       {db.Config{DSN: change(unknownHost), RoleSecret: password}, fault.Unavailable, "database_unreachable", []string{"no-such-host.invalid", "db.dsn"}},
		"SilentServer":      {db.Config{DSN: change(func(u *url.URL) { u.Host = silent.Addr().String() }), RoleSecret: password}, fault.Unavailable, "database_unreachable", []string{silent.Addr().String(), "3s", "db.dsn"}},
		"WrongPassword":     {db.Config{AdminDSN: change(func(*url.URL) {})}, fault.Invalid, "database_login", []string{`role "postgres"`, "db.admin_dsn"}},
		"WrongSecret":       {db.Config{DSN: good.DSN, RoleSecret: password}, fault.Invalid, "database_login", []string{"_order", "db.role_secret"}},
		"WrongModuleDSN":    {db.Config{Modules: map[string]string{"order": change(func(*url.URL) {})}}, fault.Invalid, "database_login", []string{"db.modules.order"}},
		"UnknownDatabase":   {db.Config{AdminDSN: withDatabase(t, good.AdminDSN, "missing")}, fault.Invalid, "database_unknown", []string{`"missing"`, "db.admin_dsn"}},
		"MalformedURL":      {db.Config{DSN: "postgres://u:" + password + "@host:port/x", RoleSecret: password}, fault.Invalid, "database_dsn", []string{"db.dsn", "postgres://"}},
		"MalformedKeywords": {db.Config{AdminDSN: "host=x password=" + password + " port=none"}, fault.Invalid, "database_dsn", []string{"db.admin_dsn"}},
		"MalformedEscape":   {db.Config{AdminDSN: "postgres://u:" + password + "%zz@host/x"}, fault.Invalid, "database_dsn", []string{"db.admin_dsn"}},
		"PasswordWithAt":    {db.Config{AdminDSN: "postgres://u:p@" + password + "@127.0.0.1:1/x"}, fault.Invalid, "database_dsn", []string{"db.admin_dsn", "%40"}},
		"PasswordWithColon": {db.Config{AdminDSN: "postgres://u:p@x:" + password + "/x"}, fault.Invalid, "database_dsn", []string{"db.admin_dsn"}},
		"PasswordWithSlash": {db.Config{AdminDSN: "postgres://u:p/" + password + "@127.0.0.1:1/x"}, fault.Invalid, "database_dsn", []string{"db.admin_dsn"}},
		"NoSecret":          {db.Config{DSN: good.DSN}, fault.Invalid, "database_role_secret", []string{"db.role_secret"}},
		"NoAdminPassword":   {db.Config{AdminDSN: good.DSN}, fault.Invalid, "database_role_secret", []string{"db.role_secret"}},
		"LongName":          {db.Config{AdminDSN: withDatabase(t, good.AdminDSN, strings.Repeat("d", 60))}, fault.Invalid, "database_role_name", []string{"63"}},
		"NoFolder":          {db.Config{}, fault.Invalid, "database_folder", []string{"data.dir"}},
		"FolderIsFile":      {db.Config{Dir: file}, fault.Invalid, "database_folder", []string{file, "data.dir"}},
		"FolderInFile":      {db.Config{Dir: filepath.Join(file, "data")}, fault.Invalid, "database_folder", []string{file, "data.dir"}},
		"UnwritableFolder":  {db.Config{Dir: unwritable}, fault.Invalid, "database_folder", []string{unwritable, "data.dir"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			err := db.Setup(context.Background(), c.config, []string{"order"})
			require.Error(t, err)
			f := fault.From(err)
			require.Equal(t, c.code, f.Code, err)
			require.Equal(t, c.kind, f.Kind, err)
			for _, part := range c.names {
				require.Contains(t, f.Message, part)
			}
			require.NotContains(t, f.Message, "\n")
			require.NotContains(t, err.Error(), password)
			require.Less(t, time.Since(start), 8*time.Second, "3 s of waiting, and a slow machine")
		})
	}
}

// unwritable is a folder in which not even root creates files.
const unwritable = "/proc/self/data"

func withDatabase(t *testing.T, dsn, name string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	require.NoError(t, err)
	u.Path = "/" + name
	return u.String()
}

func TestOpen(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	t.Run("NotSetUp", func(t *testing.T) {
		t.Parallel()
		_, err := db.Open(ctx, dbtest.Postgres(t), "order", nil)
		require.Equal(t, "database_login", fault.CodeOf(err))
		_, err = db.Open(ctx, db.Config{Dir: filepath.Join(t.TempDir(), "missing")}, "order", nil)
		require.Equal(t, "database_file", fault.CodeOf(err))
		require.Contains(t, fault.From(err).Message, "order.db")
	})
	t.Run("NotADatabase", func(t *testing.T) {
		t.Parallel()
		c := dbtest.SQLite(t)
		require.NoError(t, os.WriteFile(filepath.Join(c.Dir, "order.db"), []byte(strings.Repeat("text ", 1000)), 0o600))
		_, err := db.Open(ctx, c, "order", nil)
		require.Equal(t, "database_file", fault.CodeOf(err))
	})
	t.Run("OddFolderName", func(t *testing.T) {
		t.Parallel()
		c := db.Config{Dir: filepath.Join(t.TempDir(), "a b?c#d%20é&_pragma=x")}
		d := dbtest.Open(t, c, "order", itemMigrations, nil)
		require.NoError(t, d.Tx(ctx, func(ctx context.Context) error { return add(ctx, d, "a") }))
		require.FileExists(t, filepath.Join(c.Dir, "order.db"))
	})
	t.Run("ModuleWithOwnServer", func(t *testing.T) {
		t.Parallel()
		own := dbtest.Postgres(t)
		c := db.Config{Dir: t.TempDir(), Modules: map[string]string{"order": own.AdminDSN + "?search_path=public"}}
		require.Equal(t, "sqlite", c.Dialect())
		order, user := dbtest.Open(t, c, "order", itemMigrations, nil), dbtest.Open(t, c, "user", itemMigrations, nil)
		require.Equal(t, "postgres", order.Dialect())
		require.Equal(t, "sqlite", user.Dialect())
		for _, d := range []*db.DB{order, user} {
			require.NoError(t, d.Tx(ctx, func(ctx context.Context) error { return add(ctx, d, "a") }))
			require.NoError(t, d.Ping(ctx))
		}
	})
	t.Run("NoSchema", func(t *testing.T) {
		t.Parallel()
		own := dbtest.Postgres(t)
		_, err := db.Open(ctx, db.Config{Modules: map[string]string{"order": own.AdminDSN + "?search_path=missing"}}, "order", nil)
		require.Equal(t, "database_schema", fault.CodeOf(err))
	})
	t.Run("PingOfClosed", func(t *testing.T) {
		each(t, func(t *testing.T, d *db.DB) {
			require.NoError(t, d.Ping(ctx))
			require.NoError(t, d.Close())
			require.NoError(t, d.Close(), "closing twice")
			require.Equal(t, fault.Unavailable, fault.KindOf(d.Ping(ctx)))
		})
	})
}

// One process runs a module on a SQLite file; on Postgres replicas share the work.
func TestOwn(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		t.Parallel()
		require.NoError(t, db.Setup(t.Context(), c, []string{"order"}))
		open := func() *db.DB {
			d, err := db.Open(t.Context(), c, "order", nil)
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, d.Close()) })
			return d
		}
		first, second := open(), open()
		require.NoError(t, first.Own())
		err := second.Own()
		if c.DSN != "" {
			require.NoError(t, err)
			return
		}
		require.Equal(t, "module_runs", fault.CodeOf(err))
		require.NoError(t, first.Close())
		require.NoError(t, second.Own(), "the first one let go")
	})
}
