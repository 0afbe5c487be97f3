package event

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"cleave/platform/backoff"
	"cleave/platform/db"
	"cleave/platform/fault"
	"cleave/platform/traffic"
)

// worker handles the inbox of one subscriber, in order.
type worker struct {
	module     string
	subscriber string
	handler    Handler
	formerly   []string // names of the subscriber that it takes over
	db         *db.DB
	o          Options // with the handler's own policy
	stats      *stats
	source     *traffic.Source
	wake       chan struct{}
	stuck      atomic.Int32 // handlers that were given up and still run
}

// maxStuck is how many handlers that never return a subscriber may leave
// behind. Then it stops, so that it does not use up memory, until one returns
// or the process starts again.
const maxStuck = 8

// pending selects the events that may run now: none whose key waits for the
// retry of an earlier one.
const pending = `SELECT seq, id, type, source, key, at, traceparent, causation, payload, attempts FROM inbox i
	WHERE subscriber = ? AND state = 'pending' AND due_at <= ?
	AND NOT EXISTS (SELECT 1 FROM inbox b WHERE b.subscriber = i.subscriber AND b.key = i.key AND b.state = 'pending' AND b.seq < i.seq AND b.due_at > ?)
	ORDER BY seq LIMIT ?`

func (r *inboxRow) columns() []any {
	return []any{&r.Seq, &r.ID, &r.Type, &r.Source, &r.Key, &r.At, &r.Traceparent, &r.Causation, &r.Payload, &r.Attempts}
}

// step handles one batch in one transaction. When a handler fails, the batch
// is rolled back and its events are handled one by one, so that the failure
// costs nobody else their work.
func (w *worker) step(ctx context.Context, signalled bool) (more bool, err error) {
	if n := w.stuck.Load(); n >= maxStuck {
		return false, fmt.Errorf("%d handlers of %s have never returned: it stops until one does, or until a restart", n, w.subscriber)
	}
	if !signalled { // looking costs less than claiming
		if waits, err := w.waits(ctx); err != nil || !waits {
			return false, err
		}
	}
	n, err := w.batch(ctx, w.o.Batch)
	if err == nil {
		return n == w.o.Batch, nil
	}
	var he *handlerError
	blamed := errors.As(err, &he)
	switch {
	case ctx.Err() != nil:
		return false, err
	case errors.Is(err, errRenamed):
		return w.takeOver(ctx)
	case blamed && errors.Is(err, errNeverReturned):
		return true, w.failed(ctx, he)
	case !blamed && fault.KindOf(err) == fault.Unavailable:
		return false, err
	}
	for range w.o.Batch {
		n, err := w.batch(ctx, 1)
		var he *handlerError
		switch {
		case errors.As(err, &he) && ctx.Err() == nil:
			if err := w.failed(ctx, he); err != nil {
				return false, err
			}
		case err != nil || n == 0:
			return false, err
		}
	}
	return true, nil
}

// waits reports whether there may be something to handle.
func (w *worker) waits(ctx context.Context) (bool, error) {
	now := db.Micros(w.o.Now())
	rows, err := db.Select(ctx, w.db, (*inboxRow).columns, pending, w.subscriber, now, now, 1)
	if err != nil || len(rows) > 0 {
		return err == nil, err
	}
	return w.renamed(ctx)
}

// batch handles up to limit events and marks them in the same transaction.
// It returns how many; 0 also when another replica holds the subscriber. An
// error that one event is to blame for is a *handlerError: what a handler
// returned, and with a limit of 1 also what its writes met at commit.
func (w *worker) batch(ctx context.Context, limit int) (n int, err error) {
	var rows []inboxRow
	err = w.db.Tx(ctx, func(ctx context.Context) error {
		n = 0
		now := db.Micros(w.o.Now())
		rows, _, err = db.Claim(ctx, w.db, "inbox:"+w.subscriber, (*inboxRow).columns, pending, w.subscriber, now, now, limit)
		if err != nil {
			return err
		}
		// What a former name received is older than what has been read above.
		if renamed, err := w.renamed(ctx); err != nil || renamed {
			return errors.Join(err, errRenamed)
		}
		if len(rows) == 0 {
			return nil
		}
		seqs := make([]int64, len(rows))
		for i, row := range rows {
			if err := w.handle(ctx, row); err != nil {
				return &handlerError{row: row, err: err}
			}
			seqs[i] = row.Seq
		}
		n = len(rows)
		// The id refuses repeats; the payload, which may tell of people and hold what opens an account, is of no more use.
		return w.db.Queue(ctx).Exec("UPDATE inbox SET state = ?, done_at = ?, payload = '' WHERE "+among("seq", w.db), stateDone, db.Micros(w.o.Now()), numbers(seqs, w.db)).Error
	})
	if err != nil {
		if limit == 1 && n == 1 && fault.KindOf(err) != fault.Unavailable {
			err = &handlerError{row: rows[0], err: err}
		}
		return 0, err
	}
	for _, row := range rows {
		w.source.Ran(w.o.Now().Sub(db.FromMicros(row.At)), len(row.Payload), 0)
		w.stats.handled(ctx, w.o.Now().Sub(db.FromMicros(row.At)))
	}
	return n, nil
}

// handlerError says which event a handler failed on.
type handlerError struct {
	row inboxRow
	err error
}

func (e *handlerError) Error() string { return e.row.Type + " " + e.row.ID + ": " + e.err.Error() }
func (e *handlerError) Unwrap() error { return e.err }

// failed records a failed attempt: a later retry, or a dead letter. Another
// replica may have handled the event meanwhile; then there was no failure.
func (w *worker) failed(ctx context.Context, he *handlerError) error {
	row, now := he.row, w.o.Now()
	attempts, deadAt := row.Attempts+1, int64(0)
	state, dueAt := statePending, now.Add(backoff.Delay(attempts, w.o.BackoffMin, w.o.BackoffMax))
	if attempts >= w.o.MaxAttempts || permanent(he.err) {
		state, deadAt = stateDead, db.Micros(now)
	}
	err := w.db.Tx(ctx, func(ctx context.Context) error {
		return w.db.Queue(ctx).Exec("UPDATE inbox SET state = ?, attempts = ?, due_at = ?, dead_at = ?, cause = ?, stack = ? WHERE seq = ? AND state = ?",
			state, attempts, db.Micros(dueAt), deadAt, cause(he.err), stack(he.err), row.Seq, statePending).Error
	})
	if err != nil {
		return err
	}
	log := w.o.Log.With("subscriber", w.subscriber, "type", row.Type, "id", row.ID, "key", row.Key, "attempts", attempts, "error", he.err)
	if state == stateDead {
		w.stats.dead(ctx)
		log.ErrorContext(ctx, "event is a dead letter")
		return nil
	}
	w.stats.retried(ctx)
	log.WarnContext(ctx, "event handler failed; will retry")
	time.AfterFunc(dueAt.Sub(now), func() { nudge(w.wake) })
	return nil
}
