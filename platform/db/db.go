// Package db gives each module a database of its own, reached through GORM: a
// file in the data folder (SQLite) or a schema with its own login role
// (Postgres). A module sees the same behaviour on both: transactions travel in
// the context, violated constraints come back as the faults that the module
// names for them, and nothing of another module's tables can be reached.
package db

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"sync"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"cleave/platform/fault"
)

// connectTimeout bounds Open and each step of Setup that opens a connection.
const connectTimeout = 3 * time.Second

// DB is one module's database. It is safe for concurrent use.
type DB struct {
	module         string
	dialect        string
	constraints    Constraints
	config         Config
	reader         *sql.DB      // SQLite: read-only connections; Postgres: all connections
	shared         *sharedReads // Postgres only
	base           *gorm.DB
	writer         *writer // SQLite only
	newTransaction func(alone bool) transaction
	closers        []io.Closer
	closing        sync.Once
}

// Open connects a module to its database, which Setup has prepared. It fails
// within 5 seconds: with Unavailable when the server cannot be reached, and
// Invalid when the settings are wrong; the message is one line, names what to
// change, and holds no password.
func Open(ctx context.Context, c Config, module string, constraints Constraints) (*DB, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	d := &DB{module: module, dialect: c.dialectOf(module), constraints: constraints, config: c}
	open := d.openSQLite
	if d.dialect == postgresDialect {
		open = d.openPostgres
	}
	dialector, err := open(ctx)
	if err == nil {
		d.base, err = gorm.Open(dialector, &gorm.Config{
			SkipDefaultTransaction: true,
			DisableAutomaticPing:   true,
			Logger:                 logger.Discard,
			NowFunc:                func() time.Time { return time.Now().UTC() },
		})
	}
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	d.base.Dialector = unexplained{d.base.Dialector}
	return d, nil
}

// unexplained spares every Scan of gorm the statement with its values written
// into it, which gorm makes by regular expressions for a logger that there is
// none of: 4 µs and 2 kB each.
type unexplained struct{ gorm.Dialector }

// Explain returns the statement as it is.
func (unexplained) Explain(query string, _ ...any) string { return query }

// Close closes all connections, once. Transactions must have ended.
func (d *DB) Close() error {
	var errs []error
	d.closing.Do(func() {
		for _, c := range d.closers {
			errs = append(errs, c.Close())
		}
	})
	return errors.Join(errs...)
}

// Ping asks the database for a sign of life; the fault is Unavailable.
func (d *DB) Ping(ctx context.Context) error {
	if err := d.reader.PingContext(ctx); err != nil {
		return fault.New(fault.Unavailable, "database_unreachable", "the database of %s does not answer", d.module).Wrap(err)
	}
	return nil
}

// PoolStats are the figures of the module's connections: on SQLite of those that read, since one more writes.
func (d *DB) PoolStats() sql.DBStats { return d.reader.Stats() }

// Dialect is "sqlite" or "postgres".
func (d *DB) Dialect() string { return d.dialect }

// Module is the name of the module whose database this is.
func (d *DB) Module() string { return d.module }
