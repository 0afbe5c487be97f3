package event

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"cleave/platform/backoff"
	"cleave/platform/db"
	"cleave/platform/fault"
	"cleave/platform/telemetry"
)

// receive stores rows in a module's inbox; rows it has seen are passed over.
func receive(ctx context.Context, d *db.DB, rows []inboxRow) error {
	const columns = 9
	args := make([]any, 0, len(rows)*columns)
	for _, r := range rows {
		args = append(args, r.Subscriber, r.ID, r.Type, r.Source, r.Key, r.At, r.Traceparent, r.Causation, r.Payload)
	}
	values := strings.Repeat(", (?, ?, ?, ?, ?, ?, ?, ?, ?)", len(rows))[2:]
	return d.Tx(ctx, func(ctx context.Context) error {
		return d.Queue(ctx).Exec("INSERT INTO inbox (subscriber, id, type, source, key, at, traceparent, causation, payload) VALUES "+values+
			" ON CONFLICT DO NOTHING", args...).Error
	})
}

// worker handles the inbox of one subscriber, in order.
type worker struct {
	subscriber string
	handler    Handler
	db         *db.DB
	o          Options
	wake       chan struct{}
}

// pending selects the events that may run now: none whose key waits for the
// retry of an earlier one.
const pending = `SELECT * FROM inbox i WHERE subscriber = ? AND state = 'pending' AND due_at <= ?
	AND NOT EXISTS (SELECT 1 FROM inbox b WHERE b.subscriber = i.subscriber AND b.key = i.key AND b.state = 'pending' AND b.seq < i.seq AND b.due_at > ?)
	ORDER BY seq LIMIT ?`

// step handles one batch in one transaction. When a handler fails, the batch
// is rolled back and its events are handled one by one, so that the failure
// costs nobody else their work.
func (w *worker) step(ctx context.Context) (more bool, err error) {
	due, err := w.due(ctx, 1)
	if err != nil || len(due) == 0 {
		return false, err
	}
	n, err := w.batch(ctx, w.o.Batch)
	if err == nil {
		return n == w.o.Batch, nil
	}
	var he *handlerError
	if ctx.Err() != nil || !errors.As(err, &he) && fault.KindOf(err) == fault.Unavailable {
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

func (w *worker) due(ctx context.Context, limit int) ([]inboxRow, error) {
	var rows []inboxRow
	now := db.Micros(w.o.Now())
	err := w.db.Conn(ctx).Raw(pending, w.subscriber, now, now, limit).Scan(&rows).Error
	return rows, err
}

// batch handles up to limit events and marks them in the same transaction.
// It returns how many; 0 also when another replica holds the subscriber. An
// error that one event is to blame for is a *handlerError: what a handler
// returned, and with a limit of 1 also what its writes met at commit.
func (w *worker) batch(ctx context.Context, limit int) (n int, err error) {
	var last inboxRow
	err = w.db.Tx(ctx, func(ctx context.Context) error {
		n = 0
		mine, err := w.db.TryLock(ctx, "inbox:"+w.subscriber)
		if err != nil || !mine {
			return err
		}
		rows, err := w.due(ctx, limit)
		if err != nil || len(rows) == 0 {
			return err
		}
		seqs := make([]int64, len(rows))
		for i, row := range rows {
			if err := w.handle(ctx, row); err != nil {
				return &handlerError{row: row, err: err}
			}
			seqs[i] = row.Seq
		}
		n, last = len(rows), rows[len(rows)-1]
		return w.db.Queue(ctx).Exec("UPDATE inbox SET state = ?, done_at = ? WHERE seq IN ?", stateDone, db.Micros(w.o.Now()), seqs).Error
	})
	if err != nil && limit == 1 && last.ID != "" && fault.KindOf(err) != fault.Unavailable {
		err = &handlerError{row: last, err: err}
	}
	return n, err
}

func (w *worker) handle(ctx context.Context, row inboxRow) (err error) {
	ctx, cancel := context.WithTimeout(ctx, w.o.Timeout)
	defer cancel()
	ctx, span := telemetry.StartConsumer(telemetry.FromTraceparent(ctx, row.Traceparent), w.subscriber)
	defer func() {
		if p := recover(); p != nil {
			err = &panicked{value: p, stack: debug.Stack()}
		}
		telemetry.End(span, err)
	}()
	return w.handler.handle(withCause(ctx, row.ID), row.meta(), row.Payload)
}

// panicked is the panic of a handler.
type panicked struct {
	value any
	stack []byte
}

func (p *panicked) Error() string { return fmt.Sprintf("panic: %v", p.value) }

// handlerError says which event a handler failed on.
type handlerError struct {
	row inboxRow
	err error
}

func (e *handlerError) Error() string { return e.row.Type + " " + e.row.ID + ": " + e.err.Error() }
func (e *handlerError) Unwrap() error { return e.err }

// failed records a failed attempt: a later retry, or a dead letter.
func (w *worker) failed(ctx context.Context, he *handlerError) error {
	row, now := he.row, w.o.Now()
	attempts, deadAt := row.Attempts+1, int64(0)
	state, dueAt := statePending, now.Add(backoff.Delay(attempts, w.o.BackoffMin, w.o.BackoffMax))
	if attempts >= w.o.MaxAttempts || permanent(he.err) {
		state, deadAt = stateDead, db.Micros(now)
		w.o.Log.ErrorContext(ctx, "event is a dead letter", "subscriber", w.subscriber, "type", row.Type, "id", row.ID, "key", row.Key,
			"attempts", attempts, "error", he.err)
	} else {
		w.o.Log.WarnContext(ctx, "event handler failed; will retry", "subscriber", w.subscriber, "type", row.Type, "id", row.ID,
			"key", row.Key, "attempts", attempts, "error", he.err)
		time.AfterFunc(dueAt.Sub(now), func() { nudge(w.wake) })
	}
	return w.db.Tx(ctx, func(ctx context.Context) error {
		return w.db.Queue(ctx).Exec("UPDATE inbox SET state = ?, attempts = ?, due_at = ?, dead_at = ?, cause = ?, stack = ? WHERE seq = ? AND state = ?",
			state, attempts, db.Micros(dueAt), deadAt, cause(he.err), stack(he.err), row.Seq, statePending).Error
	})
}
