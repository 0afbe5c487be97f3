package event

import (
	"context"
	"time"

	"cleave/platform/db"
)

// Purging runs in transactions of at most purgeBatch rows.
const (
	purgeEvery = 10 * time.Minute
	purgeBatch = 1000
)

// housekeep registers the module's subscribers, and then forgets every now and
// then what is old.
func housekeep(ctx context.Context, d *db.DB, workers []*worker, o Options) error {
	registering, done := context.WithCancel(ctx)
	defer done()
	err := loop(registering, nil, o, d.Module()+" subscribers", func(ctx context.Context) (bool, error) {
		err := register(ctx, d, workers, o)
		if err == nil {
			done()
		}
		return false, err
	})
	if err != nil {
		return err
	}
	return loop(ctx, nil, Options{Poll: purgeEvery, Log: o.Log}, d.Module()+" inbox purge", func(ctx context.Context) (bool, error) {
		n, err := purgeInbox(ctx, d, o.Now().Add(-o.Retention))
		return n == purgeBatch, err
	})
}

// purgeInbox forgets events that were handled before a time, so that they
// would take effect again if they came again.
func purgeInbox(ctx context.Context, d *db.DB, before time.Time) (n int64, err error) {
	err = d.Tx(ctx, func(ctx context.Context) error {
		res := d.Conn(ctx).Exec("DELETE FROM inbox WHERE seq IN (SELECT seq FROM inbox WHERE state = 'done' AND done_at < ? LIMIT ?)",
			db.Micros(before), purgeBatch)
		n = res.RowsAffected
		return res.Error
	})
	return n, err
}
