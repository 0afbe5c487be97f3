package event

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"cleave/platform/db"
)

// relay moves one module's outbox into the pipe, oldest first.
type relay struct {
	module    string
	db        *db.DB
	o         Options
	stats     *stats
	publishes map[string]bool
	keeps     bool                // what has left the outbox, as history
	followers []*follower         // of the history
	laggards  map[string]*laggard // the subscribers that it reaches in this process
	owing     bool                // there may be events that are owed
	floor     int64               // see after
	looked    time.Time
	wake      chan struct{}
}

func (r *outboxRow) columns() []any {
	return []any{&r.Seq, &r.ID, &r.Type, &r.Key, &r.At, &r.Traceparent, &r.Causation, &r.Payload}
}

func (r *outboxRow) claimed() []any { return append(r.columns(), &r.OwedTo) }

const claimed = "SELECT seq, id, type, key, at, traceparent, causation, payload, owed_to FROM outbox "

// step moves one batch. An outbox row is deleted only after the pipe has
// returned, so a crash in between delivers again and the inboxes refuse the
// repeat. What the pipe refuses for good is set aside as a dead letter, and what
// a subscriber does not take stays for it alone: neither holds anybody back.
func (r *relay) step(ctx context.Context, signalled bool) (more bool, err error) {
	if !signalled { // looking costs less than claiming
		waiting, err := db.Select(ctx, r.db, number, "SELECT count(*) FROM (SELECT 1 FROM outbox LIMIT 1) AS w")
		if err != nil || waiting[0] == 0 {
			return false, err
		}
	}
	var rejected *Rejected
	var moved, refused int
	var owed map[string]bool
	var behind map[string]error
	again := false
	err = r.db.Tx(ctx, func(ctx context.Context) error {
		moved, refused, rejected, again, behind = 0, 0, nil, false, nil
		var rows []outboxRow
		rows, owed, again, err = r.claim(ctx)
		if err != nil || again || len(rows) == 0 {
			return err
		}
		events := make([]Envelope, len(rows))
		for i, row := range rows {
			events[i] = row.envelope(r.module)
		}
		// An inbox of this very module must not wait for this transaction.
		behind, err = r.deliver(db.Detach(ctx), events, owed)
		if err != nil && !errors.As(err, &rejected) {
			return err
		}
		taken, dead := split(rows, rejected)
		moved, refused = len(rows)-len(dead), len(dead)
		if err := r.bury(ctx, dead, rejected); err != nil {
			return err
		}
		if len(behind) > 0 { // without dead ones: a pipe knows of either
			if taken, err = r.owe(ctx, rows, behind); err != nil {
				return err
			}
		}
		return r.forget(ctx, taken)
	})
	if err != nil {
		return false, err
	}
	r.stats.took(ctx, moved, refused)
	if refused > 0 {
		r.o.Log.ErrorContext(ctx, "events are dead letters of the outbox", "module", r.module, "ids", rejected.IDs, "error", rejected.Err)
	}
	for name, why := range behind {
		if !owed[name] {
			r.o.Log.WarnContext(ctx, "a subscriber does not take events: they wait for it alone in the outbox", "module", r.module, "subscriber", name, "error", why)
		}
		nudge(r.laggards[name].wake)
	}
	if moved > 0 {
		for _, f := range r.followers {
			nudge(f.wake)
		}
	}
	return again || moved+refused == r.o.Batch, nil
}

// claim takes the oldest events that are nobody's yet, and says to whom earlier
// ones are owed. It looks for debts only where it has met one: among the oldest
// events, since those that are numbered before a debt are in order without it.
func (r *relay) claim(ctx context.Context) (rows []outboxRow, owed map[string]bool, again bool, err error) {
	held := false
	if !r.owing {
		rows, _, err = db.Claim(ctx, r.db, "outbox", (*outboxRow).claimed, claimed+"ORDER BY seq LIMIT ?", r.o.Batch)
		r.owing = slices.ContainsFunc(rows, func(row outboxRow) bool { return row.OwedTo != "" })
		return rows, nil, r.owing, err
	}
	rows, held, err = db.Claim(ctx, r.db, "outbox", (*outboxRow).claimed, claimed+"WHERE owed_to = '' AND seq > ? ORDER BY seq LIMIT ?", r.after(), r.o.Batch)
	if err != nil || !held {
		return nil, nil, false, err
	}
	owed, settled, err := r.debts(ctx)
	r.owing = err != nil || len(owed) > 0 || !settled
	return rows, owed, !settled, err
}

// deliver gives events to the pipe. In process it goes on without those to whom earlier ones are owed, and who do not answer in
// time: they are behind.
func (r *relay) deliver(ctx context.Context, events []Envelope, owed map[string]bool) (behind map[string]error, err error) {
	p, ok := r.o.Pipe.(*inProcess)
	if !ok {
		return nil, r.o.Pipe.Deliver(ctx, r.module, events)
	}
	behind, err = p.reach(ctx, events, owed, r.o.Patience)
	for name, why := range behind {
		if r.laggards[name] == nil { // which nobody would ever catch up
			return nil, fmt.Errorf("deliver to %s: %w", name, why)
		}
	}
	return behind, err
}

// split parts the numbers of the rows that the pipe took from those of the others.
func split(rows []outboxRow, rejected *Rejected) (taken, dead []int64) {
	refused := map[string]bool{}
	if rejected != nil {
		for _, id := range rejected.IDs {
			refused[id] = true
		}
	}
	for _, row := range rows {
		if refused[row.ID] {
			dead = append(dead, row.Seq)
		} else {
			taken = append(taken, row.Seq)
		}
	}
	return taken, dead
}

// bury queues the move of events among the dead ones of the outbox.
func (r *relay) bury(ctx context.Context, seqs []int64, why *Rejected) error {
	if len(seqs) == 0 {
		return nil
	}
	err := r.db.Queue(ctx).Exec("INSERT INTO outbox_dead (seq, id, type, key, at, traceparent, causation, payload, attempts, cause, dead_at) "+
		"SELECT seq, id, type, key, at, traceparent, causation, payload, 1, ?, ? FROM outbox WHERE "+among("seq", r.db),
		cause(why.Err), db.Micros(r.o.Now()), numbers(seqs, r.db)).Error
	if err != nil {
		return err
	}
	return r.remove(ctx, seqs)
}

// forget queues the end of events that the pipe holds.
func (r *relay) forget(ctx context.Context, seqs []int64) error {
	if len(seqs) == 0 {
		return nil
	}
	if err := r.keep(ctx, seqs); err != nil {
		return err
	}
	return r.remove(ctx, seqs)
}

// keep queues events for the history, if there is one.
func (r *relay) keep(ctx context.Context, seqs []int64) error {
	if !r.keeps {
		return nil
	}
	return r.db.Queue(ctx).Exec("INSERT INTO event_history (id, type, key, at, traceparent, causation, payload, kept_at) "+
		"SELECT id, type, key, at, traceparent, causation, payload, CAST(? AS bigint) FROM outbox WHERE "+among("seq", r.db)+" ORDER BY seq",
		db.Micros(r.o.Now()), numbers(seqs, r.db)).Error
}

func (r *relay) remove(ctx context.Context, seqs []int64) error {
	return r.db.Queue(ctx).Exec("DELETE FROM outbox WHERE "+among("seq", r.db), numbers(seqs, r.db)).Error
}
