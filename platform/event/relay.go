package event

import (
	"context"
	"errors"

	"cleave/platform/db"
)

// relay moves one module's outbox into the pipe, oldest first.
type relay struct {
	module    string
	db        *db.DB
	o         Options
	stats     *stats
	publishes map[string]bool
	keeps     bool        // what has left the outbox, as history
	followers []*follower // of the history
	wake      chan struct{}
}

func (r *outboxRow) columns() []any {
	return []any{&r.Seq, &r.ID, &r.Type, &r.Key, &r.At, &r.Traceparent, &r.Causation, &r.Payload}
}

// step moves one batch. An outbox row is deleted only after the pipe has
// returned, so a crash in between delivers again and the inboxes refuse the
// repeat. What the pipe refuses for good is set aside as a dead letter, and
// holds nobody back.
func (r *relay) step(ctx context.Context, signalled bool) (more bool, err error) {
	if !signalled { // looking costs less than claiming
		waiting, err := db.Select(ctx, r.db, number, "SELECT count(*) FROM (SELECT 1 FROM outbox LIMIT 1) AS w")
		if err != nil || waiting[0] == 0 {
			return false, err
		}
	}
	var rejected *Rejected
	var moved, refused int
	err = r.db.Tx(ctx, func(ctx context.Context) error {
		moved, refused, rejected = 0, 0, nil
		rows, _, err := db.Claim(ctx, r.db, "outbox", (*outboxRow).columns,
			"SELECT seq, id, type, key, at, traceparent, causation, payload FROM outbox ORDER BY seq LIMIT ?", r.o.Batch)
		if err != nil || len(rows) == 0 {
			return err
		}
		events := make([]Envelope, len(rows))
		for i, row := range rows {
			events[i] = row.envelope(r.module)
		}
		// An inbox of this very module must not wait for this transaction.
		if err := r.o.Pipe.Deliver(db.Detach(ctx), r.module, events); err != nil && !errors.As(err, &rejected) {
			return err
		}
		taken, dead := split(rows, rejected)
		moved, refused = len(taken), len(dead)
		if err := r.bury(ctx, dead, rejected); err != nil {
			return err
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
	if moved > 0 {
		for _, f := range r.followers {
			nudge(f.wake)
		}
	}
	return moved+refused == r.o.Batch, nil
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
	if r.keeps {
		err := r.db.Queue(ctx).Exec("INSERT INTO event_history (id, type, key, at, traceparent, causation, payload, kept_at) "+
			"SELECT id, type, key, at, traceparent, causation, payload, CAST(? AS bigint) FROM outbox WHERE "+among("seq", r.db)+" ORDER BY seq",
			db.Micros(r.o.Now()), numbers(seqs, r.db)).Error
		if err != nil {
			return err
		}
	}
	return r.remove(ctx, seqs)
}

func (r *relay) remove(ctx context.Context, seqs []int64) error {
	return r.db.Queue(ctx).Exec("DELETE FROM outbox WHERE "+among("seq", r.db), numbers(seqs, r.db)).Error
}
