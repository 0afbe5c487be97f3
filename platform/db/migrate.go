package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"path"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"cleave/platform/db/migrations"
	"cleave/platform/fault"
)

// The two sets of migrations of a module's database, each with its own version
// table, so that the platform and the module number theirs independently.
const (
	platformSet = "platform"
	moduleSet   = "module"
)

// lockTimeout bounds the wait for another process that migrates.
const lockTimeout = time.Minute

// Applied is a migration that has just run, up or down.
type Applied struct {
	Set      string // "platform" or "module"
	Version  int64
	Name     string // file name
	Duration time.Duration
}

// Status is a migration that the binary knows.
type Status struct {
	Set     string // "platform" or "module"
	Version int64
	Name    string    // file name
	At      time.Time // when it was applied; zero: pending
}

// Migrate applies the platform's migrations, then those of the module, which
// lie in the folder of the dialect ("sqlite" or "postgres") of module. A nil
// module has none. Several processes may call it at once: one does the work
// and the others wait, up to a minute. It changes nothing and returns a
// Conflict fault, code schema_newer, when the database has a migration that
// the binary does not know. What it lists has been applied even when a later
// migration fails.
func (d *DB) Migrate(ctx context.Context, module fs.FS) (applied []Applied, err error) {
	err = d.migrating(ctx, module, func(sets []set) error {
		for _, s := range sets {
			if err := s.refuseNewer(ctx); err != nil {
				return err
			}
		}
		for _, s := range sets {
			results, err := s.provider.Up(ctx)
			var partial *goose.PartialError
			if errors.As(err, &partial) {
				results = partial.Applied
			}
			applied = append(applied, s.applied(results...)...)
			if err != nil {
				return s.fault(err)
			}
		}
		return nil
	})
	return applied, err
}

// MigrateDown takes back the module's last migration. It returns nothing when
// there is none; the platform's tables stay.
func (d *DB) MigrateDown(ctx context.Context, module fs.FS) (applied []Applied, err error) {
	err = d.migrating(ctx, module, func(sets []set) error {
		if len(sets) == 1 {
			return nil
		}
		s := sets[1]
		if err := s.refuseNewer(ctx); err != nil {
			return err
		}
		result, err := s.provider.Down(ctx)
		if errors.Is(err, goose.ErrNoNextVersion) {
			return nil
		}
		if err != nil {
			return s.fault(err)
		}
		applied = s.applied(result)
		return nil
	})
	return applied, err
}

// MigrationStatus lists the migrations that the binary knows, in their order.
func (d *DB) MigrationStatus(ctx context.Context, module fs.FS) (all []Status, err error) {
	err = d.migrating(ctx, module, func(sets []set) error {
		for _, s := range sets {
			status, err := s.provider.Status(ctx)
			if err != nil {
				return s.fault(err)
			}
			for _, m := range status {
				all = append(all, Status{Set: s.name, Version: m.Source.Version, Name: path.Base(m.Source.Path), At: m.AppliedAt})
			}
		}
		return nil
	})
	return all, err
}

// SchemaVersion is the number of the last migration of the module, without the platform's, that the database has, whatever the binary
// knows; 0 without one.
func (d *DB) SchemaVersion(ctx context.Context) (version int64, err error) {
	err = d.Conn(ctx).Raw("SELECT COALESCE(MAX(version_id), 0) FROM " + moduleSet + "_versions").Row().Scan(&version)
	return version, err
}

// migrating calls fn with the platform's set, and the module's if it has one,
// while no other process migrates this module's database.
func (d *DB) migrating(ctx context.Context, module fs.FS, fn func([]set) error) (err error) {
	pool, unlock, err := d.lockMigrations(ctx)
	if err != nil {
		return fault.New(fault.Unavailable, "migration_locked", "cannot lock the migrations of %s: does another process migrate?", d.module).Wrap(err)
	}
	defer func() { err = errors.Join(err, unlock()) }()
	sets := make([]set, 0, 2)
	for _, source := range []struct {
		name string
		fsys fs.FS
	}{{platformSet, migrations.FS}, {moduleSet, module}} {
		if source.fsys == nil {
			continue
		}
		s, err := d.newSet(source.name, source.fsys, pool)
		if err != nil {
			return err
		}
		sets = append(sets, s)
	}
	return fn(sets)
}

// lockMigrations takes the lock and gives the connections to migrate with.
func (d *DB) lockMigrations(ctx context.Context) (*sql.DB, func() error, error) {
	if d.dialect == sqliteDialect {
		return d.lockFile(ctx)
	}
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockID(lockID(d.module)), lock.WithLockTimeout(1, uint64(lockTimeout/time.Second)))
	if err != nil {
		return nil, nil, err
	}
	conn, err := d.reader.Conn(ctx)
	if err != nil {
		return nil, nil, err
	}
	if err = locker.SessionLock(ctx, conn); err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	return d.reader, func() error {
		return errors.Join(locker.SessionUnlock(context.WithoutCancel(ctx), conn), conn.Close())
	}, nil
}

// lockFile locks a file beside the database, since a file lock does not depend
// on a database that may not exist yet. A migration is not synchronised to the
// disk by itself: the next commit of the module is, and all before it in the
// log along with it. Until then a power failure can only make it run again.
func (d *DB) lockFile(ctx context.Context) (*sql.DB, func() error, error) {
	ctx, cancel := context.WithTimeout(ctx, lockTimeout)
	defer cancel()
	file := flock.New(filepath.Join(d.config.Dir, ".lock-migrate-"+d.module))
	if _, err := file.TryLockContext(ctx, 20*time.Millisecond); err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	pool, err := d.sqlitePool(1, "synchronous(NORMAL)")
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return pool, func() error { return errors.Join(pool.Close(), file.Close()) }, nil
}

// lockID is the module's advisory lock: the lock's scope is the database, which
// the modules share.
func lockID(module string) int64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte("cleave/migrate/" + module))
	return int64(h.Sum64() >> 1)
}

// set is the platform's or the module's migrations.
type set struct {
	name     string
	owner    string
	provider *goose.Provider
}

func (d *DB) newSet(name string, fsys fs.FS, pool *sql.DB) (set, error) {
	s := set{name: name, owner: d.module}
	sub, err := fs.Sub(fsys, d.dialect)
	if err != nil {
		return s, s.fault(err)
	}
	dialect := goose.DialectSQLite3
	if d.dialect == postgresDialect {
		dialect = goose.DialectPostgres
	}
	s.provider, err = goose.NewProvider(dialect, pool, sub, goose.WithTableName(name+"_versions"), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return s, s.fault(fmt.Errorf("folder %s: %w", d.dialect, err))
	}
	return s, nil
}

func (s set) refuseNewer(ctx context.Context) error {
	have, err := s.provider.GetDBVersion(ctx)
	if err != nil {
		return s.fault(err)
	}
	sources := s.provider.ListSources()
	if know := sources[len(sources)-1].Version; have > know {
		return fault.New(fault.Conflict, "schema_newer",
			"the database of %s is newer than this binary: its %s schema has version %d, the binary knows %d; start a newer binary",
			s.owner, s.name, have, know)
	}
	return nil
}

func (s set) applied(results ...*goose.MigrationResult) []Applied {
	var out []Applied
	for _, r := range results {
		out = append(out, Applied{Set: s.name, Version: r.Source.Version, Name: path.Base(r.Source.Path), Duration: r.Duration})
	}
	return out
}

func (s set) fault(err error) error {
	at := ""
	var partial *goose.PartialError
	if errors.As(err, &partial) {
		at = " at " + path.Base(partial.Failed.Source.Path)
	}
	return fault.New(fault.Internal, "migration_failed", "the %s migrations of %s failed%s", s.name, s.owner, at).Wrap(err)
}
