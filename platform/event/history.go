package event

import (
	"context"
	"fmt"
	"math"
	"time"

	"cleave/platform/db"
)

// follower fills the inbox of a subscriber that asked for history: not from the
// pipe, but from what the publisher keeps of the events that left its outbox.
// It begins with the oldest and never stops following, so that there is no
// moment at which an event could come twice, too early or not at all; the
// subscriber's position is stored with what it received.
type follower struct {
	inbox  *inbox
	source *relay
	wake   chan struct{}
}

// follow makes the subscribers that ask for history followers of what their
// publishers keep, and returns the other ones, which receive from the pipe.
// following are those that did so before: they go on, so that they miss nothing
// when they no longer ask.
func (b *Bus) follow(following map[string]bool) (live []*inbox) {
	for _, in := range b.inboxes {
		source := b.relayOf(in.sub.Type)
		if source == nil || !source.keeps || !in.sub.History && !following[in.sub.Subscriber] {
			live = append(live, in)
			continue
		}
		f := &follower{inbox: in, source: source, wake: make(chan struct{}, 1)}
		source.followers = append(source.followers, f)
	}
	return live
}

// relayOf is the relay of the module in this process that publishes a type, or nil.
func (b *Bus) relayOf(kind string) *relay {
	for _, r := range b.relays {
		if r.publishes[kind] {
			return r
		}
	}
	return nil
}

// checkHistory refuses a handler that asks for what nobody keeps.
func (b *Bus) checkHistory() error {
	if _, forgetful := b.o.Pipe.(*inProcess); !forgetful {
		return nil
	}
	for _, in := range b.inboxes {
		if source := b.relayOf(in.sub.Type); in.sub.History && source != nil && !source.keeps {
			return fmt.Errorf("%s asks for the history of %s, which keeps none: set events.history", in.sub.Subscriber, source.module)
		}
	}
	return nil
}

type historyRow struct {
	Pos int64
	outboxRow
}

func (r *historyRow) columns() []any {
	return []any{&r.Pos, &r.ID, &r.Type, &r.Key, &r.At, &r.Traceparent, &r.Causation, &r.Payload}
}

func number(n *int64) []any { return []any{n} }

// step receives one batch.
func (f *follower) step(ctx context.Context, signalled bool) (more bool, err error) {
	in, name := f.inbox, f.inbox.sub.Subscriber
	err = in.db.Tx(ctx, func(ctx context.Context) error {
		more = false
		position, held, err := db.Claim(ctx, in.db, "follow:"+name, number, "SELECT position FROM event_subscribers WHERE name = ?", name)
		if err != nil || !held {
			return err
		}
		if len(position) == 0 {
			return fmt.Errorf("%s is not registered", name)
		}
		page, next, err := f.page(db.Detach(ctx), position[0])
		if err != nil || next == position[0] {
			return err
		}
		more = len(page) == in.o.Batch
		if err := in.accept(ctx, page); err != nil {
			return err
		}
		return in.db.Queue(ctx).Exec("UPDATE event_subscribers SET position = ? WHERE name = ?", next, name).Error
	})
	if err != nil {
		return false, fmt.Errorf("follow the history of %s: %w", f.source.module, err)
	}
	return more, nil
}

// page reads the events after position, and the position behind them.
func (f *follower) page(ctx context.Context, position int64) (events []Envelope, next int64, err error) {
	d := f.source.db
	end, err := db.Select(ctx, d, number, "SELECT COALESCE(max(pos), 0) FROM event_history")
	if err != nil || end[0] <= position {
		return nil, position, err
	}
	limit := f.inbox.o.Batch
	rows, err := db.Select(ctx, d, (*historyRow).columns,
		"SELECT pos, id, type, key, at, traceparent, causation, payload FROM event_history WHERE pos > ? AND pos <= ? AND type = ? ORDER BY pos LIMIT ?",
		position, end[0], f.inbox.sub.Type, limit)
	if err != nil {
		return nil, position, err
	}
	next = end[0]
	if len(rows) == limit {
		next = rows[limit-1].Pos
	}
	for _, row := range rows {
		events = append(events, row.envelope(f.source.module))
	}
	return events, next, nil
}

// purgeHistory forgets events that left the outbox before a time and that all
// followers have.
func (r *relay) purgeHistory(ctx context.Context, before time.Time) (n int64, err error) {
	seen := int64(math.MaxInt64)
	for _, f := range r.followers {
		position, err := db.Select(ctx, f.inbox.db, number, "SELECT position FROM event_subscribers WHERE name = ?", f.inbox.sub.Subscriber)
		if err != nil || len(position) == 0 {
			return 0, err
		}
		seen = min(seen, position[0])
	}
	err = r.db.Tx(ctx, func(ctx context.Context) error {
		res := r.db.Conn(ctx).Exec("DELETE FROM event_history WHERE pos <= ? AND pos IN "+
			"(SELECT pos FROM (SELECT pos, kept_at FROM event_history ORDER BY pos LIMIT ?) AS oldest WHERE kept_at < ?)",
			seen, purgeBatch, db.Micros(before))
		n = res.RowsAffected
		return res.Error
	})
	return n, err
}
