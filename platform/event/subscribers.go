package event

import (
	"context"
	"strings"

	"cleave/platform/db"
)

// register remembers every module's subscribers, trying until that is done, and
// returns those that follow a history. It returns false when ctx ended before.
func (b *Bus) register(ctx context.Context) (following map[string]bool, ok bool) {
	following = map[string]bool{}
	for d, workers := range b.byDatabase() {
		ok := b.persist(ctx, "the subscribers of "+d.Module()+" cannot be registered", func() error {
			names, err := register(ctx, d, workers, db.Micros(b.o.Now()))
			for _, name := range names {
				following[name] = true
			}
			return err
		})
		if !ok {
			return nil, false
		}
	}
	return following, true
}

// register remembers the subscribers that the module has now, and that others
// are gone: what waits for those is orphaned until they come back. During a
// rolling deployment the process that started last decides. It returns those
// that have a position in a history.
func register(ctx context.Context, d *db.DB, workers []*worker, now int64) (following []string, err error) {
	names, args := make([]string, len(workers)), make([]any, 0, 3*len(workers))
	for i, w := range workers {
		names[i] = w.subscriber
		args = append(args, w.subscriber, w.handler.Type.Name(), now)
	}
	err = d.Tx(ctx, func(ctx context.Context) error {
		if len(names) == 0 {
			return d.Queue(ctx).Exec("UPDATE event_subscribers SET removed_at = ? WHERE removed_at = 0", now).Error
		}
		for _, w := range workers {
			for _, old := range w.formerly {
				err := d.Queue(ctx).Exec("UPDATE event_subscribers SET name = ? WHERE name = ? AND NOT EXISTS (SELECT 1 FROM event_subscribers WHERE name = ?)",
					w.subscriber, old, w.subscriber).Error
				if err != nil {
					return err
				}
			}
		}
		err := d.Queue(ctx).Exec("INSERT INTO event_subscribers (name, type, since) VALUES "+strings.Repeat(", (?, ?, ?)", len(names))[2:]+
			" ON CONFLICT (name) DO UPDATE SET type = excluded.type, removed_at = 0", args...).Error
		if err != nil {
			return err
		}
		return d.Queue(ctx).Exec("UPDATE event_subscribers SET removed_at = ? WHERE removed_at = 0 AND name NOT IN ?", now, names).Error
	})
	if err == nil {
		following, err = db.Select(ctx, d, func(s *string) []any { return []any{s} }, "SELECT name FROM event_subscribers WHERE position > 0")
	}
	return following, err
}
