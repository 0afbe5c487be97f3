package db_test

import (
	"context"
	"io/fs"
	"path"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"cleave/platform/db"
	"cleave/platform/db/dbtest"
	"cleave/platform/db/migrations"
	"cleave/platform/fault"
)

// grown is itemMigrations with a second migration, which on Postgres cannot
// run in a transaction.
func grown() fstest.MapFS {
	return fstest.MapFS{
		"sqlite/00001_items.sql":    itemMigrations["sqlite/00001_items.sql"],
		"postgres/00001_items.sql":  itemMigrations["postgres/00001_items.sql"],
		"sqlite/00002_search.sql":   {Data: []byte("-- +goose Up\nCREATE INDEX items_stock ON items (stock);\n-- +goose Down\nDROP INDEX items_stock;\n")},
		"postgres/00002_search.sql": {Data: []byte("-- +goose NO TRANSACTION\n-- +goose Up\nCREATE INDEX CONCURRENTLY items_stock ON items (stock);\n-- +goose Down\nDROP INDEX items_stock;\n")},
	}
}

// opened is a database that nobody has migrated.
func opened(t *testing.T, c db.Config) *db.DB {
	t.Helper()
	ctx := context.Background()
	require.NoError(t, db.Setup(ctx, c, []string{"order"}))
	d, err := db.Open(ctx, c, "order", constraints)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	return d
}

func names(applied []db.Applied) (list []string) {
	for _, a := range applied {
		list = append(list, a.Set+" "+a.Name)
	}
	return list
}

// platformNames lists the platform's own migrations as names does.
func platformNames(t *testing.T, dialect string) (list []string) {
	t.Helper()
	files, err := fs.Glob(migrations.FS, dialect+"/*.sql")
	require.NoError(t, err)
	for _, f := range files {
		list = append(list, "platform "+path.Base(f))
	}
	return list
}

func TestMigrate(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		t.Parallel()
		d := opened(t, c)
		status, err := d.MigrationStatus(ctx, grown())
		require.NoError(t, err)
		require.Len(t, status, len(platformNames(t, d.Dialect()))+2)
		for _, s := range status {
			require.True(t, s.At.IsZero(), s)
		}
		require.Equal(t, "schema_older", fault.CodeOf(d.CheckSchema(ctx, itemMigrations)))
		applied, err := d.Migrate(ctx, itemMigrations)
		require.NoError(t, err)
		require.NoError(t, d.CheckSchema(ctx, itemMigrations))
		require.Equal(t, "schema_older", fault.CodeOf(d.CheckSchema(ctx, grown())))
		require.Equal(t, append(platformNames(t, d.Dialect()), "module 00001_items.sql"), names(applied))
		applied, err = d.Migrate(ctx, grown())
		require.NoError(t, err)
		require.Equal(t, []string{"module 00002_search.sql"}, names(applied))
		version, err := d.SchemaVersion(ctx)
		require.NoError(t, err)
		require.EqualValues(t, 2, version)
		applied, err = d.Migrate(ctx, grown())
		require.NoError(t, err)
		require.Empty(t, applied)

		t.Run("SchemaNewer", func(t *testing.T) {
			require.Equal(t, "schema_newer", fault.CodeOf(d.CheckSchema(ctx, itemMigrations)))
			for _, use := range []func() ([]db.Applied, error){
				func() ([]db.Applied, error) { return d.Migrate(ctx, itemMigrations) },
				func() ([]db.Applied, error) { return d.MigrateDown(ctx, itemMigrations) },
			} {
				applied, err := use()
				require.Empty(t, applied)
				require.Equal(t, fault.Conflict, fault.KindOf(err))
				require.Equal(t, "schema_newer", fault.CodeOf(err))
				require.Contains(t, fault.From(err).Message, "version 2")
				require.Contains(t, fault.From(err).Message, "knows 1")
			}
		})

		applied, err = d.MigrateDown(ctx, grown())
		require.NoError(t, err)
		require.Equal(t, []string{"module 00002_search.sql"}, names(applied))
		version, err = d.SchemaVersion(ctx)
		require.NoError(t, err)
		require.EqualValues(t, 1, version)
		status, err = d.MigrationStatus(ctx, grown())
		require.NoError(t, err)
		last := len(status) - 1
		for i, s := range status {
			require.Equal(t, i == last, s.At.IsZero(), s)
		}
		require.Equal(t, db.Status{Set: "module", Version: 2, Name: "00002_search.sql"}, status[last])
		_, err = d.MigrateDown(ctx, grown())
		require.NoError(t, err)
		applied, err = d.MigrateDown(ctx, grown())
		require.NoError(t, err)
		require.Empty(t, applied, "the platform's tables stay")
		applied, err = d.MigrateDown(ctx, nil)
		require.NoError(t, err)
		require.Empty(t, applied)
		_, err = d.Migrate(ctx, grown())
		require.NoError(t, err)
	})
}

func TestMigrateWithWrongFiles(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		t.Parallel()
		d := opened(t, c)
		_, err := d.Migrate(ctx, fstest.MapFS{"mysql/00001_items.sql": {}})
		require.Equal(t, "migration_failed", fault.CodeOf(err))
		require.ErrorContains(t, err, "folder "+d.Dialect())
		broken := grown()
		broken[d.Dialect()+"/00003_broken.sql"] = &fstest.MapFile{Data: []byte("-- +goose Up\nCREATE TABLE more (id text);\nINSERT INTO missing VALUES (1);\n")}
		applied, err := d.Migrate(ctx, broken)
		require.Equal(t, "migration_failed", fault.CodeOf(err))
		require.ErrorContains(t, err, "00003_broken.sql")
		require.Equal(t, append(platformNames(t, d.Dialect()), "module 00001_items.sql", "module 00002_search.sql"), names(applied))
		require.Error(t, d.Conn(ctx).Raw("SELECT id FROM more").Scan(&[]string{}).Error, "a failed migration leaves nothing")
	})
}

// Four replicas start at once: one migrates, and all find the work done.
func TestMigrateConcurrently(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		t.Parallel()
		require.NoError(t, db.Setup(ctx, c, []string{"order"}))
		counts := make(chan int, 4)
		var group errgroup.Group
		for range 4 {
			group.Go(func() error {
				d, err := db.Open(ctx, c, "order", nil)
				if err != nil {
					return err
				}
				defer func() { _ = d.Close() }()
				applied, err := d.Migrate(ctx, grown())
				counts <- len(applied)
				return err
			})
		}
		require.NoError(t, group.Wait())
		close(counts)
		total := 0
		for n := range counts {
			total += n
		}
		require.Equal(t, len(platformNames(t, c.Dialect()))+2, total, "each migration ran once")
	})
}
