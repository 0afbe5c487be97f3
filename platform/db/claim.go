package db

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// Claim takes the named lock of this module, as TryLock does, and returns the
// rows of a query, as Select does, in one round trip. The query sees what the
// lock's last holder has committed. When another replica holds the lock, there
// are no rows. It needs a transaction, whose end gives the lock back.
//
// On SQLite it reads outside the transaction, which holds the only writer from
// its first statement on: nobody waits for it before it writes.
func Claim[T any](ctx context.Context, d *DB, name string, columns func(*T) []any, query string, args ...any) (all []T, held bool, err error) {
	s := d.find(ctx)
	if s == nil || s.current() == nil {
		return nil, false, errOutside
	}
	if d.dialect == sqliteDialect {
		all, err = Select(Detach(ctx), d, columns, query, args...)
		return all, err == nil, err
	}
	var row T
	dest := columns(&row)
	err = s.current().run(ctx, func(t transaction) error {
		held, err = t.(*pgTx).claim(ctx, statement{number(lockQuery), []any{d.lockName(name)}}, statement{number(query), args}, func(scan scanner) error {
			if err := scan(dest...); err != nil {
				return err
			}
			all = append(all, row)
			return nil
		})
		return err
	})
	return all, held, err
}

// claim sends two queries with whatever is pending: one for a lock, and one for
// rows, which fn gets if the lock was taken. Each query of a pipeline sees what
// was committed when its turn came.
func (t *pgTx) claim(ctx context.Context, lock, query statement, fn func(scanner) error) (held bool, err error) {
	statements := t.opening()
	if err := t.connect(ctx); err != nil {
		return false, err
	}
	batch := &pgx.Batch{}
	for _, s := range append(statements, lock, query) {
		batch.Queue(s.sql, s.args...)
	}
	err = t.conn.Raw(func(c any) (err error) {
		results := c.(*stdlib.Conn).Conn().SendBatch(ctx, batch)
		defer func() {
			if closeErr := results.Close(); err == nil {
				err = closeErr
			}
		}()
		for range statements {
			if _, err := results.Exec(); err != nil {
				return err
			}
		}
		if err := results.QueryRow().Scan(&held); err != nil || !held {
			return err
		}
		rows, err := results.Query()
		for err == nil && rows.Next() {
			err = fn(rows.Scan)
		}
		rows.Close()
		if err == nil {
			err = rows.Err()
		}
		return err
	})
	return held, err
}
