package contract_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cleave/cmd/cleave/contract"
)

const releasedSQL = `-- +goose Up
CREATE TABLE things (
    id    text   NOT NULL,
    name  text   NOT NULL,
    count bigint NOT NULL DEFAULT 0,
    CONSTRAINT things_pkey PRIMARY KEY (id),
    CONSTRAINT things_name_key UNIQUE (name),
    CONSTRAINT things_count_check CHECK (count >= 0)
);
CREATE INDEX things_count ON things (count);
CREATE UNIQUE INDEX things_once ON things (name, count);
CREATE VIEW thing_names AS SELECT name FROM things;

-- +goose Down
DROP TABLE things;
`

// setupMigrations makes a tree whose module "shop" has released one migration
// and has the given files besides.
func setupMigrations(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	write(t, root, "release/VERSION", "0.1.0\n")
	write(t, root, "release/migrations/shop/postgres/00001_things.sql", releasedSQL)
	write(t, root, "modules/shop/migrations/postgres/00001_things.sql", releasedSQL)
	for name, text := range files {
		write(t, root, "modules/shop/migrations/postgres/"+name, text)
	}
	return root
}

func write(t *testing.T, root, name, text string) {
	t.Helper()
	path := filepath.Join(root, name)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
}

func TestCheckMigrations_Breaking(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ sql, rule string }{
		"DropTable":         {"DROP TABLE things;", "drop-table"},
		"DropTableOfList":   {"DROP TABLE IF EXISTS other, shop.things CASCADE;", "drop-table"},
		"DropView":          {"DROP VIEW thing_names;", "drop-view"},
		"DropUniqueIndex":   {"DROP INDEX CONCURRENTLY IF EXISTS things_once;", "drop-index"},
		"DropColumn":        {"ALTER TABLE things DROP COLUMN name;", "drop-column"},
		"DropWithoutColumn": {"alter table Things\n drop name;", "drop-column"},
		"QuotedTable":       {`ALTER TABLE "shop"."things" DROP COLUMN "name";`, "drop-column"},
		"SecondAction":      {"ALTER TABLE ONLY things ADD COLUMN a text, DROP COLUMN name;", "drop-column"},
		"DropUnique":        {"ALTER TABLE things DROP CONSTRAINT things_name_key;", "drop-unique"},
		"DropDefault":       {"ALTER TABLE things ALTER count DROP DEFAULT;", "drop-default"},
		"RenameTable":       {"ALTER TABLE things RENAME TO items;", "rename"},
		"RenameColumn":      {"ALTER TABLE IF EXISTS things RENAME COLUMN name TO title;", "rename"},
		"RenameBare":        {"ALTER TABLE things RENAME name TO title;", "rename"},
		"RenameConstraint":  {"ALTER TABLE things RENAME CONSTRAINT things_name_key TO k;", "rename"},
		"SetSchema":         {"ALTER TABLE things SET SCHEMA old;", "rename"},
		"Type":              {"ALTER TABLE things ALTER COLUMN count TYPE integer;", "change-type"},
		"SetDataType":       {"ALTER TABLE things ALTER count SET DATA TYPE text USING count::text;", "change-type"},
		"SetNotNull":        {"ALTER TABLE things ALTER COLUMN name SET NOT NULL;", "set-not-null"},
		"RequiredColumn":    {"ALTER TABLE things ADD COLUMN size bigint NOT NULL;", "required-column"},
		"DefaultNull":       {"ALTER TABLE things ADD size bigint DEFAULT NULL NOT NULL;", "required-column"},
		"DefaultInComment":  {"ALTER TABLE things ADD size bigint NOT NULL /* DEFAULT 0 */;", "required-column"},
		"DefaultInString":   {"ALTER TABLE things ADD COLUMN IF NOT EXISTS size text NOT NULL COLLATE \"default\";", "required-column"},
		"ColumnWithCheck":   {"ALTER TABLE things ADD COLUMN size bigint DEFAULT 0 CHECK (size < count);", "new-check"},
		"Check":             {"ALTER TABLE things ADD CONSTRAINT c CHECK (count < 9) NOT VALID;", "new-check"},
		"BareCheck":         {"ALTER TABLE things ADD CHECK (count < 9);", "new-check"},
		"Unique":            {"ALTER TABLE things ADD CONSTRAINT u UNIQUE (count);", "new-unique"},
		"ForeignKey":        {"ALTER TABLE things ADD FOREIGN KEY (name) REFERENCES names (id);", "new-foreign"},
		"UniqueIndex":       {"CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS u ON ONLY things (count);", "new-unique"},
		"BetweenComments":   {"ALTER/* x */TABLE -- y\n things /* /* nested */ */ DROP name;", "drop-column"},
		"InDo":              {"-- +goose StatementBegin\nDO $$ BEGIN IF true THEN ALTER TABLE things DROP COLUMN name; END IF; END $$;\n-- +goose StatementEnd", "drop-column"},
		"Executed":          {"-- +goose StatementBegin\nDO $x$ BEGIN EXECUTE 'DROP TABLE things'; END $x$;\n-- +goose StatementEnd", "drop-table"},
		"Rebuild":           {"CREATE TABLE next (id text);\nDROP TABLE things;\nALTER TABLE next RENAME TO things;", "drop-table"},
		"Catalogue":         {"PRAGMA writable_schema = on;", "writable-schema"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := setupMigrations(t, map[string]string{"00002_more.sql": "-- +goose Up\n-- a note\n" + c.sql + "\n-- +goose Down\n"})
			findings, exceptions, err := contract.CheckMigrations(root)
			require.NoError(t, err)
			require.Empty(t, exceptions)
			require.Len(t, findings, 1, "%v", findings)
			f := findings[0]
			require.Equal(t, "migration/"+c.rule, f.Rule)
			require.Equal(t, "modules/shop/migrations/postgres/00002_more.sql", f.File)
			require.GreaterOrEqual(t, f.Line, 3)
			require.NotEmpty(t, f.What)
			require.Contains(t, f.Fix, "-- cleave:contract REASON")
		})
	}
}

func TestCheckMigrations_Line(t *testing.T) {
	t.Parallel()
	root := setupMigrations(t, map[string]string{"00002_more.sql": "-- +goose Up\nSELECT 1;\n\nALTER TABLE things\n    ADD COLUMN a text,\n    DROP COLUMN name;\n"})
	findings, _, err := contract.CheckMigrations(root)
	require.NoError(t, err)
	require.Len(t, findings, 1)
	require.Equal(t, 6, findings[0].Line)
	require.True(t, strings.HasPrefix(findings[0].String(), "modules/shop/migrations/postgres/00002_more.sql:6: migration/drop-column: drops things.name"))
}

func TestCheckMigrations_Innocent(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		"NewTable":            "CREATE TABLE more (id text NOT NULL PRIMARY KEY, n bigint NOT NULL CHECK (n > 0) UNIQUE);",
		"ChangeNewTable":      "CREATE TABLE more (id text);\nALTER TABLE more DROP COLUMN id, ADD COLUMN x text NOT NULL;\nALTER TABLE more RENAME TO most;\nDROP TABLE most;",
		"NullableColumn":      "ALTER TABLE things ADD COLUMN note text;",
		"ColumnWithDefault":   "ALTER TABLE things ADD COLUMN note text NOT NULL DEFAULT '', ADD size bigint DEFAULT 0 NOT NULL;",
		"Generated":           "ALTER TABLE things ADD COLUMN twice bigint NOT NULL GENERATED ALWAYS AS (count * 2) STORED;",
		"Serial":              "ALTER TABLE things ADD COLUMN n bigserial NOT NULL;",
		"Index":               "CREATE INDEX CONCURRENTLY things_by_name ON things (name);\nDROP INDEX things_count;",
		"UniqueOnNewTable":    "CREATE TABLE more (id text);\nCREATE UNIQUE INDEX more_id ON more (id);",
		"LoosenCheck":         "ALTER TABLE things DROP CONSTRAINT things_count_check;",
		"DropNotNull":         "ALTER TABLE things ALTER COLUMN name DROP NOT NULL;",
		"SetDefault":          "ALTER TABLE things ALTER COLUMN name SET DEFAULT 'not null';",
		"InComment":           "-- DROP TABLE things;\n/* ALTER TABLE things DROP COLUMN name; */\nSELECT 1;",
		"InString":            "INSERT INTO things (id, name) VALUES ('x', 'DROP TABLE things; ALTER TABLE things DROP name;');",
		"InFunction":          "-- +goose StatementBegin\nCREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN DROP TABLE things; END $$;\n-- +goose StatementEnd",
		"ColumnNamedLikeRule": `ALTER TABLE things ADD COLUMN "unique" text;`,
		"Backfill":            "UPDATE things SET name = 'x' WHERE name IS NULL;",
		"DeferredAlter":       "ALTER TABLE things SET (fillfactor = 70);",
		"Comment":             "COMMENT ON TABLE things IS 'DROP COLUMN';",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := setupMigrations(t, map[string]string{"00002_more.sql": "-- +goose Up\n" + sql + "\n-- +goose Down\nDROP TABLE things;\nALTER TABLE things DROP COLUMN name;\n"})
			findings, exceptions, err := contract.CheckMigrations(root)
			require.NoError(t, err)
			require.Empty(t, exceptions)
			require.Empty(t, findings)
		})
	}
}

func TestCheckMigrations_Released(t *testing.T) {
	t.Parallel()
	t.Run("Changed", func(t *testing.T) {
		t.Parallel()
		root := setupMigrations(t, map[string]string{"00001_things.sql": strings.Replace(releasedSQL, "count bigint", "count  bigint", 1)})
		findings, _, err := contract.CheckMigrations(root)
		require.NoError(t, err)
		require.Len(t, findings, 1)
		require.Equal(t, "migration/changed", findings[0].Rule)
		require.Equal(t, 5, findings[0].Line)
	})
	t.Run("Removed", func(t *testing.T) {
		t.Parallel()
		root := setupMigrations(t, nil)
		require.NoError(t, os.RemoveAll(filepath.Join(root, "modules")))
		findings, _, err := contract.CheckMigrations(root)
		require.NoError(t, err)
		require.Len(t, findings, 1)
		require.Equal(t, "migration/removed", findings[0].Rule)
	})
	t.Run("OutOfOrder", func(t *testing.T) {
		t.Parallel()
		root := setupMigrations(t, map[string]string{"00001_again.sql": "-- +goose Up\nSELECT 1;\n"})
		findings, _, err := contract.CheckMigrations(root)
		require.NoError(t, err)
		require.Len(t, findings, 1)
		require.Equal(t, "migration/out-of-order", findings[0].Rule)
	})
}

func TestCheckMigrations_Exception(t *testing.T) {
	t.Parallel()
	check := func(t *testing.T, sql string) ([]contract.Finding, []contract.Exception) {
		t.Helper()
		findings, exceptions, err := contract.CheckMigrations(setupMigrations(t, map[string]string{"00002_drop.sql": sql}))
		require.NoError(t, err)
		return findings, exceptions
	}
	t.Run("Reason", func(t *testing.T) {
		t.Parallel()
		findings, exceptions := check(t, "-- cleave:contract 0.1.0 stopped reading it\n-- +goose Up\nDROP TABLE things;\n")
		require.Empty(t, findings)
		require.Equal(t, []contract.Exception{{File: "modules/shop/migrations/postgres/00002_drop.sql", Reason: "0.1.0 stopped reading it"}}, exceptions)
	})
	t.Run("NoReason", func(t *testing.T) {
		t.Parallel()
		findings, exceptions := check(t, "-- +goose Up\n-- cleave:contract\nDROP TABLE things;\n")
		require.Empty(t, exceptions)
		require.Len(t, findings, 2)
		require.Equal(t, "migration/no-reason", findings[0].Rule)
		require.Equal(t, 2, findings[0].Line)
	})
	t.Run("Needless", func(t *testing.T) {
		t.Parallel()
		findings, exceptions := check(t, "-- +goose Up\n-- cleave:contract just in case\nSELECT 1;\n")
		require.Empty(t, exceptions)
		require.Len(t, findings, 1)
		require.Equal(t, "migration/needless-exception", findings[0].Rule)
	})
	t.Run("InString", func(t *testing.T) {
		t.Parallel()
		findings, exceptions := check(t, "-- +goose Up\nSELECT '-- cleave:contract no comment'; DROP TABLE things;\n")
		require.Empty(t, exceptions)
		require.Len(t, findings, 1)
	})
}
