package skew_test

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/stretchr/testify/require"

	"cleave/platform/db"
	"cleave/platform/db/dbtest"
	"cleave/platform/module"
)

// connect opens a module's database as the module's role does, past the
// platform, as the released binary would.
func connect(t testing.TB, c db.Config, name string) *sql.DB {
	t.Helper()
	var pool *sql.DB
	if c.Dialect() == "sqlite" {
		require.NoError(t, os.MkdirAll(c.Dir, 0o700))
		var err error
		pool, err = sql.Open("sqlite", "file:"+filepath.Join(c.Dir, name+".db")+"?_pragma=foreign_keys(1)&_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)")
		require.NoError(t, err)
	} else {
		cfg, err := pgx.ParseConfig(c.AdminDSN)
		require.NoError(t, err)
		admin := stdlib.OpenDB(*cfg)
		var role string
		require.NoError(t, admin.QueryRowContext(t.Context(), "SELECT rolname FROM pg_namespace JOIN pg_roles r ON r.oid = nspowner WHERE nspname = $1", name).Scan(&role))
		require.NoError(t, admin.Close())
		cfg.RuntimeParams["role"], cfg.RuntimeParams["search_path"] = role, `"`+name+`"`
		pool = stdlib.OpenDB(*cfg)
	}
	pool.SetMaxOpenConns(1)
	t.Cleanup(func() { _ = pool.Close() })
	return pool
}

// migrateReleased makes the tables of a module as the release did.
func migrateReleased(t testing.TB, pool *sql.DB, dialect, name string) {
	t.Helper()
	d := goose.DialectSQLite3
	if dialect == "postgres" {
		d = goose.DialectPostgres
	}
	for set, owner := range map[string]string{"platform_versions": "platform", "module_versions": name} {
		p, err := goose.NewProvider(d, pool, os.DirFS(filepath.Join(release, "migrations", owner, dialect)),
			goose.WithTableName(set), goose.WithDisableGlobalRegistry(true))
		require.NoError(t, err)
		_, err = p.Up(t.Context())
		require.NoError(t, err)
	}
}

func migrateToday(t testing.TB, c db.Config, s module.Spec) {
	t.Helper()
	d, err := db.Open(t.Context(), c, s.Name, s.Constraints)
	require.NoError(t, err)
	_, err = d.Migrate(t.Context(), s.Migrations)
	require.NoError(t, err)
	require.NoError(t, d.Close())
}

// column is one that statements fill; what the database fills is left out.
type column struct{ name, typ string }

// catalogue returns the columns of each table of the module's schema.
func catalogue(ctx context.Context, pool *sql.DB, dialect string) (map[string][]column, error) {
	query := `SELECT table_name, column_name, data_type FROM information_schema.columns
		WHERE table_schema = current_schema() AND is_identity = 'NO' AND is_generated = 'NEVER' ORDER BY table_name, ordinal_position`
	if dialect == "sqlite" {
		query = `SELECT m.name, c.name, c.type FROM sqlite_master m JOIN pragma_table_xinfo(m.name) c
			WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND c.hidden = 0 AND NOT (c.pk = 1 AND m.sql LIKE '%INTEGER PRIMARY KEY%') ORDER BY m.name, c.cid`
	}
	rows, err := pool.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	tables := map[string][]column{}
	for rows.Next() {
		var table string
		var c column
		if err := rows.Scan(&table, &c.name, &c.typ); err != nil {
			return nil, err
		}
		if !strings.HasSuffix(table, "_versions") {
			tables[table] = append(tables[table], c)
		}
	}
	return tables, rows.Err()
}

// samples are the values that rules of the released tables demand. All other
// values depend on type and row alone, so that keys find what they refer to.
var samples = map[string]func(row int) any{
	"accounts.granted":    func(row int) any { return row },
	"accounts.available":  func(row int) any { return row },
	"accounts.reserved":   func(int) any { return 0 },
	"accounts.captured":   func(int) any { return 0 },
	"first_admin.one":     func(int) any { return 1 },
	"inbox.state":         func(int) any { return "done" },
	"ledger_entries.kind": func(int) any { return "reserve" },
	"mails.state":         func(int) any { return "sent" },
	"mutes.channel":       func(int) any { return "email" },
	"orders.status":       func(int) any { return "pending" },
	"reservations.state":  func(int) any { return "reserved" },
	"sagas.state":         func(int) any { return "completed" },
}

// single are the tables that hold one row at most.
var single = []string{"first_admin"}

func sample(table string, c column, row int) any {
	if f, ok := samples[table+"."+c.name]; ok {
		return f(row)
	}
	switch strings.ToLower(c.typ) {
	case "uuid":
		return fmt.Sprintf("0197a5c2-7b1e-7c3a-9d2f-%012d", row)
	case "text":
		return fmt.Sprintf("text %d", row)
	case "boolean":
		return false
	case "bytea", "blob":
		return []byte{byte(row)}
	default:
		return row
	}
}

// insertReleased inserts one row into each table with the released columns and
// no others, and returns what the database refused. A table whose keys have to
// wait for another is tried again.
func insertReleased(ctx context.Context, pool *sql.DB, tables map[string][]column, row int) (found []string) {
	waiting := slices.Sorted(maps.Keys(tables))
	for len(waiting) > 0 {
		var refused []string
		found = nil
		for _, table := range waiting {
			if err := insertRow(ctx, pool, table, tables[table], row); err != nil {
				refused = append(refused, table)
				found = append(found, fmt.Sprintf("insert into %s: %v", table, err))
			}
		}
		if len(refused) == len(waiting) {
			return found
		}
		waiting = refused
	}
	return nil
}

func insertRow(ctx context.Context, pool *sql.DB, table string, columns []column, row int) error {
	if slices.Contains(single, table) {
		if _, err := pool.ExecContext(ctx, "DELETE FROM "+table); err != nil {
			return err
		}
	}
	var names, places []string
	var values []any
	for i, c := range columns {
		names, places, values = append(names, c.name), append(places, fmt.Sprintf("$%d", i+1)), append(values, sample(table, c, row))
	}
	_, err := pool.ExecContext(ctx, fmt.Sprintf("INSERT INTO %s (%s) VALUES (%s)", table, strings.Join(names, ", "), strings.Join(places, ", ")), values...)
	return err
}

// readReleased returns which tables do not give back the row that was inserted,
// read by the released columns.
func readReleased(ctx context.Context, pool *sql.DB, tables map[string][]column, row int) (found []string) {
	for _, table := range slices.Sorted(maps.Keys(tables)) {
		columns := tables[table]
		got, err := readRow(ctx, pool, table, columns, row)
		if err != nil {
			found = append(found, fmt.Sprintf("read %s: %v", table, err))
			continue
		}
		for i, c := range columns {
			if want := sample(table, c, row); text(want) != text(got[i]) {
				found = append(found, fmt.Sprintf("%s.%s was %v and is read as %v", table, c.name, text(want), text(got[i])))
			}
		}
	}
	return found
}

func readRow(ctx context.Context, pool *sql.DB, table string, columns []column, row int) ([]any, error) {
	var names, where []string
	var keys []any
	for _, c := range columns {
		names = append(names, c.name)
		if _, fixed := samples[table+"."+c.name]; !fixed && !slices.Contains([]string{"boolean", "bytea", "blob"}, strings.ToLower(c.typ)) {
			keys = append(keys, sample(table, c, row))
			where = append(where, fmt.Sprintf("%s = $%d", c.name, len(keys)))
		}
	}
	got := make([]any, len(columns))
	pointers := make([]any, len(columns))
	for i := range got {
		pointers[i] = &got[i]
	}
	query := fmt.Sprintf("SELECT %s FROM %s WHERE %s", strings.Join(names, ", "), table, strings.Join(where, " AND "))
	return got, pool.QueryRowContext(ctx, query, keys...).Scan(pointers...)
}

// text is a value without the differences between drivers.
func text(v any) string {
	if b, ok := v.([]byte); ok {
		return string(b)
	}
	if v == nil {
		return "NULL"
	}
	if r := reflect.ValueOf(v); r.Kind() == reflect.Bool {
		if r.Bool() {
			return "1"
		}
		return "0"
	}
	return fmt.Sprint(v)
}

// upgraded is a module's database that the release has made and filled, and
// that today's migrations have then changed.
type upgraded struct {
	pool   *sql.DB
	tables map[string][]column // as released
}

func upgrade(t *testing.T, c db.Config, name string) upgraded {
	t.Helper()
	require.NoError(t, db.Setup(t.Context(), c, []string{name}))
	pool := connect(t, c, name)
	migrateReleased(t, pool, c.Dialect(), name)
	tables, err := catalogue(t.Context(), pool, c.Dialect())
	require.NoError(t, err)
	require.NotEmpty(t, tables)
	require.Empty(t, insertReleased(t.Context(), pool, tables, 1), "the samples of this test do not fit the released tables")
	require.Empty(t, readReleased(t.Context(), pool, tables, 1))
	migrateToday(t, c, specOf(t, name))
	return upgraded{pool, tables}
}

// statementSkew runs what the released binary runs on tables that today's
// migrations have changed, and returns what no longer works.
func statementSkew(ctx context.Context, u upgraded) []string {
	var found []string
	if !slices.ContainsFunc(single, func(s string) bool { return u.tables[s] != nil }) {
		found = readReleased(ctx, u.pool, u.tables, 1)
	} else {
		rest := maps.Clone(u.tables)
		for _, s := range single {
			delete(rest, s)
		}
		found = readReleased(ctx, u.pool, rest, 1)
	}
	found = append(found, insertReleased(ctx, u.pool, u.tables, 2)...)
	return append(found, readReleased(ctx, u.pool, u.tables, 2)...)
}

func TestSchema(t *testing.T) {
	t.Parallel()
	for _, name := range releasedModules(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dbtest.Each(t, func(t *testing.T, c db.Config) {
				require.Empty(t, statementSkew(t.Context(), upgrade(t, c, name)))
			})
		})
	}
}

// TestSchema_Planted changes the tables as a careless migration would.
func TestSchema_Planted(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		sql, want string
		postgres  bool // SQLite has no such statement
	}{
		"Nothing":        {"ALTER TABLE products ADD COLUMN note text", "", false},
		"Default":        {"ALTER TABLE products ADD COLUMN note text NOT NULL DEFAULT ''", "", false},
		"DropColumn":     {"ALTER TABLE products DROP COLUMN description", "insert into products", false},
		"RenameColumn":   {"ALTER TABLE products RENAME COLUMN name TO title", "insert into products", false},
		"DropTable":      {"DROP TABLE order_lines", "insert into order_lines", false},
		"Unique":         {"CREATE UNIQUE INDEX one_status ON orders (status)", "insert into orders", false},
		"RequiredColumn": {"ALTER TABLE products ADD COLUMN note text; UPDATE products SET note = ''; ALTER TABLE products ALTER COLUMN note SET NOT NULL", "insert into products", true},
		"Check":          {"ALTER TABLE products ADD CONSTRAINT c CHECK (stock < 2)", "insert into products", true},
		"Type":           {"ALTER TABLE products ALTER COLUMN name TYPE varchar(4) USING left(name, 4)", "value too long", true},
		"Platform":       {"ALTER TABLE outbox DROP COLUMN traceparent", "insert into outbox", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dbtest.Each(t, func(t *testing.T, cfg db.Config) {
				if c.postgres && cfg.Dialect() != "postgres" {
					return
				}
				u := upgrade(t, cfg, "order")
				for _, statement := range strings.Split(c.sql, ";") {
					_, err := u.pool.ExecContext(t.Context(), statement)
					require.NoError(t, err)
				}
				found := strings.Join(statementSkew(t.Context(), u), "\n")
				if c.want == "" {
					require.Empty(t, found)
				} else {
					require.Contains(t, found, c.want)
				}
			})
		})
	}
}
