package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"

	"cleave/platform/fault"
)

// pingAfter is how long a connection may lie idle before its next use begins
// with a round trip that finds out whether the network still carries it. That
// the server has closed it is seen without one, see alive.
const pingAfter = 30 * time.Second

func (d *DB) openPostgres(ctx context.Context) (gorm.Dialector, error) {
	key, cfg, err := d.config.moduleConn(d.module)
	if err != nil {
		return nil, err
	}
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = "cleave-" + d.module
	}
	pool := stdlib.OpenDB(*cfg,
		stdlib.OptionResetSession(func(_ context.Context, c *pgx.Conn) error {
			if !alive(c.PgConn().Conn()) {
				return driver.ErrBadConn
			}
			return nil
		}),
		stdlib.OptionShouldPing(func(_ context.Context, p stdlib.ShouldPingParams) bool { return p.IdleDuration > pingAfter }),
	)
	pool.SetMaxOpenConns(d.config.maxConns())
	pool.SetMaxIdleConns(d.config.maxConns())
	pool.SetConnMaxIdleTime(5 * time.Minute)
	d.reader, d.shared = pool, newSharedReads(pool)
	d.closers = append(d.closers, pool)
	var schema sql.NullString
	if err = pool.QueryRowContext(ctx, "SELECT current_schema()").Scan(&schema); err != nil {
		return nil, connectFault(key, cfg, err)
	}
	if !schema.Valid {
		return nil, fault.New(fault.Invalid, "database_schema",
			"role %q has no schema on its search_path in database %q: run the set-up, or set the role's search_path", cfg.User, cfg.Database)
	}
	d.newTransaction = func(bool) transaction { return &pgTx{pool: pool} }
	return postgres.New(postgres.Config{Conn: pool}), nil
}
