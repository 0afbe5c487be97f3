package event

import (
	"context"
	"strings"
	"sync"

	"cleave/platform/db"
)

// inbox is where one subscriber receives.
type inbox struct {
	sub   Subscription
	db    *db.DB
	o     Options
	stats *stats
	wake  chan struct{}

	mu      sync.Mutex
	ignored map[string]bool // reasons and types that the log knows
}

// accept stores events in the inbox and returns once they are durable. Those
// that it holds already are passed over, and those that it can do nothing with
// are ignored: an event of another type than the subscription's, which a newer
// release may publish, and one that is not a whole event.
//
// Nothing limits how many events wait: they wait on disk, so that no other
// subscriber has to.
func (in *inbox) accept(ctx context.Context, events []Envelope) error {
	rows := make([]inboxRow, 0, len(events))
	for _, e := range events {
		switch {
		case e.Type != in.sub.Type:
			in.ignore(ctx, e, "unknown_type")
		case e.ID == "" || !storable(e.ID+e.Source+e.Key+e.Traceparent+e.Causation):
			in.ignore(ctx, e, "malformed")
		default:
			rows = append(rows, e.inboxRow(in.sub.Subscriber))
		}
	}
	err := in.db.Tx(ctx, func(ctx context.Context) error {
		in.db.AfterCommit(ctx, func() { nudge(in.wake) })
		return receive(ctx, in.db, rows)
	})
	return err
}

// ignore counts an event, and logs the first one of its kind.
func (in *inbox) ignore(ctx context.Context, e Envelope, reason string) {
	const known = 100
	in.stats.ignored(ctx, reason)
	in.mu.Lock()
	defer in.mu.Unlock()
	if kind := reason + " " + e.Type; !in.ignored[kind] && len(in.ignored) < known {
		in.ignored[kind] = true
		in.o.Log.WarnContext(ctx, "events of this kind are received and ignored", "subscriber", in.sub.Subscriber, "reason", reason,
			"type", clip(e.Type, 200), "id", clip(e.ID, 200), "source", clip(e.Source, 200))
	}
}

// insertRows is how many rows one statement inserts: of a few lengths, so that
// every connection has prepared it soon.
const insertRows = 16

// receive stores rows in a module's inbox within the transaction of ctx; rows
// that it has seen are passed over.
func receive(ctx context.Context, d *db.DB, rows []inboxRow) error {
	for len(rows) > 0 {
		n := 1
		if len(rows) >= insertRows {
			n = insertRows
		}
		const columns = 9
		args := make([]any, 0, n*columns)
		for _, r := range rows[:n] {
			args = append(args, r.Subscriber, r.ID, r.Type, r.Source, r.Key, r.At, r.Traceparent, r.Causation, r.Payload)
		}
		err := d.Queue(ctx).Exec("INSERT INTO inbox (subscriber, id, type, source, key, at, traceparent, causation, payload) VALUES "+
			strings.Repeat(", (?, ?, ?, ?, ?, ?, ?, ?, ?)", n)[2:]+" ON CONFLICT DO NOTHING", args...).Error
		if err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}
