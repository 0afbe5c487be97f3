package db

import "context"

// TryLock takes the named lock of this module until the transaction of ctx
// ends, and reports whether it did: false means that another replica holds it.
// On SQLite, where one process owns the file and one transaction writes, it
// always does. Outside a transaction it fails.
func (d *DB) TryLock(ctx context.Context, name string) (bool, error) {
	if s := d.find(ctx); s == nil || s.current() == nil {
		return false, errOutside
	}
	if d.dialect == sqliteDialect {
		return true, nil
	}
	var held bool
	err := d.Conn(ctx).Raw(lockQuery, d.lockName(name)).Scan(&held).Error
	return held, err
}

const lockQuery = "SELECT pg_try_advisory_xact_lock(hashtextextended(?, 0))"

// Exclusive runs fn while no other replica runs an Exclusive of the same name;
// when one does, it returns nil without running fn. On Postgres fn runs in the
// transaction that holds the lock. On SQLite, where there is one replica, it
// runs in none, so that fn may write to other modules' databases.
func (d *DB) Exclusive(ctx context.Context, name string, fn func(ctx context.Context) error) error {
	if d.dialect == sqliteDialect {
		return fn(ctx)
	}
	return d.Tx(ctx, func(ctx context.Context) error {
		held, err := d.TryLock(ctx, name)
		if err != nil || !held {
			return err
		}
		return fn(ctx)
	})
}

// lockName is the name within the database, which modules share.
func (d *DB) lockName(name string) string { return d.module + ":" + name }
