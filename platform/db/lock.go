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

// lockName is the name within the database, which modules share.
func (d *DB) lockName(name string) string { return d.module + ":" + name }
