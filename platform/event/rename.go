package event

import (
	"context"
	"errors"

	"cleave/platform/db"
)

// errRenamed says that events wait under a former name of the subscriber.
var errRenamed = errors.New("a former name of the subscriber has events left")

// renamed reports whether the inbox holds anything under a former name. A
// replica of the last release may add to it at any time.
func (w *worker) renamed(ctx context.Context) (bool, error) {
	for _, old := range w.formerly {
		left, err := db.Select(ctx, w.db, number, "SELECT count(*) FROM (SELECT 1 FROM inbox WHERE subscriber = ? LIMIT 1) AS one", old)
		if err != nil || left[0] > 0 {
			return err == nil, err
		}
	}
	return false, nil
}

// takeOver makes what the inbox holds under former names this subscriber's:
// what is pending, in its place, and the marks, so that nothing repeats. It
// holds the locks of both names, so that no replica handles any of it
// meanwhile, and does nothing when it cannot get them.
func (w *worker) takeOver(ctx context.Context) (done bool, err error) {
	err = w.db.Tx(ctx, func(ctx context.Context) error {
		done = false
		for _, name := range append([]string{w.subscriber}, w.formerly...) {
			if held, err := w.db.TryLock(ctx, "inbox:"+name); err != nil || !held {
				return err
			}
		}
		for _, old := range w.formerly {
			for _, change := range []struct {
				query string
				args  []any
			}{
				// An event may have come under both names; what has been handled stays so.
				{"DELETE FROM inbox WHERE subscriber = ? AND state = 'pending' AND id IN (SELECT id FROM inbox WHERE subscriber = ? AND state <> 'pending')", []any{w.subscriber, old}},
				{"DELETE FROM inbox WHERE subscriber = ? AND id IN (SELECT id FROM inbox WHERE subscriber = ?)", []any{old, w.subscriber}},
				{"UPDATE inbox SET subscriber = ? WHERE subscriber = ?", []any{w.subscriber, old}},
			} {
				if err := w.db.Queue(ctx).Exec(change.query, change.args...).Error; err != nil {
					return err
				}
			}
		}
		done = true
		return nil
	})
	return done && err == nil, err
}
