package event

import (
	"context"
	"strings"

	"cleave/platform/db"
)

// register remembers the subscribers that the module has now, and that others
// are gone: what waits for those is orphaned until they come back. During a
// rolling deployment the process that started last decides.
func register(ctx context.Context, d *db.DB, workers []*worker, o Options) error {
	now := db.Micros(o.Now())
	names, args := make([]string, len(workers)), make([]any, 0, 3*len(workers))
	for i, w := range workers {
		names[i] = w.subscriber
		args = append(args, w.subscriber, w.handler.Type.Name(), now)
	}
	return d.Tx(ctx, func(ctx context.Context) error {
		if len(names) == 0 {
			return d.Queue(ctx).Exec("UPDATE event_subscribers SET removed_at = ? WHERE removed_at = 0", now).Error
		}
		err := d.Queue(ctx).Exec("INSERT INTO event_subscribers (name, type, since) VALUES "+strings.Repeat(", (?, ?, ?)", len(names))[2:]+
			" ON CONFLICT (name) DO UPDATE SET type = excluded.type, removed_at = 0", args...).Error
		if err != nil {
			return err
		}
		return d.Queue(ctx).Exec("UPDATE event_subscribers SET removed_at = ? WHERE removed_at = 0 AND name NOT IN ?", now, names).Error
	})
}
