package event

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"cleave/platform/db"
)

// Purging runs in transactions of at most purgeBatch rows.
const (
	purgeEvery = 10 * time.Minute
	purgeBatch = 1000
)

// purge forgets every now and then what is old.
func (b *Bus) purge(ctx context.Context, g *errgroup.Group) {
	every := func(what string, purge func(context.Context) (int64, error)) {
		g.Go(func() error {
			return loop(ctx, nil, Options{Poll: purgeEvery, Log: b.o.Log}, what, func(ctx context.Context, _ bool) (bool, error) {
				n, err := purge(ctx)
				return n == purgeBatch, err
			})
		})
	}
	for d, workers := range b.byDatabase() {
		if len(workers) > 0 {
			every(d.Module()+" inbox purge", func(ctx context.Context) (int64, error) { return purgeInbox(ctx, d, b.o.Now().Add(-b.o.Retention)) })
		}
	}
	for _, r := range b.relays {
		every(r.module+" history purge", func(ctx context.Context) (int64, error) { return r.purgeHistory(ctx, b.o.Now().Add(-b.o.History)) })
	}
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
