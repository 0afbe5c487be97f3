package saga

import (
	"context"
	"errors"
	"time"

	"cleave/platform/backoff"
	"cleave/platform/db"
	"cleave/platform/fault"
)

// errLost means that another process has taken the saga over, or that it has
// moved on; what this run did is rolled back or idempotent.
var errLost = errors.New("the saga's lease was lost")

// recordAttempts bounds the attempts to write what a run has reached, some two
// seconds in all. After that the saga waits for another owner.
const recordAttempts = 6

// record writes what the run has reached. While the database cannot, it tries
// again.
func (x *execution) record(ctx context.Context) error {
	for attempt := 1; ; attempt++ {
		err := x.commit(ctx, nil)
		if err == nil || errors.Is(err, errLost) || attempt == recordAttempts || !fault.KindOf(err).Temporary() {
			return err
		}
		x.o.Log.WarnContext(ctx, "saga cannot be recorded; trying again", "saga", x.in.Name, "id", x.in.ID, "error", err)
		select {
		case <-ctx.Done():
			return err
		case <-time.After(backoff.Delay(attempt, 50*time.Millisecond, time.Second)):
		}
	}
}

// commit writes what the run has reached, together with the local work of do,
// if the row is still as this run knows it. When it fails, the run has reached
// nothing.
func (x *execution) commit(ctx context.Context, do func(ctx context.Context) error) error {
	before := x.in
	err := x.db.Tx(ctx, func(ctx context.Context) error {
		x.in = before
		if do != nil {
			if err := do(ctx); err != nil {
				return err
			}
		}
		return x.write(ctx)
	})
	if err != nil {
		x.in = before
		return err
	}
	x.recorded = x.in
	if x.o.Observer != nil && (x.in.State == Completed || x.in.State == Compensated || x.in.State == CompensationFailed) {
		x.o.Observer.SagaEnded(x.in.Name, x.in.State, x.o.Now().Sub(db.FromMicros(x.in.CreatedAt)))
	}
	return nil
}

func (x *execution) write(ctx context.Context) error {
	in, was, now := &x.in, x.recorded, x.o.Now()
	if in.Owner != "" {
		in.DueAt = db.Micros(now.Add(x.o.Lease + x.need))
	}
	var err error
	if in.History, err = encodeHistory(in.entries); err != nil {
		return err
	}
	res := x.db.Conn(ctx).Exec(
		`UPDATE sagas SET state = ?, step = ?, data = ?, attempts = ?, due_at = ?, owner = ?, cause = ?, history = ?, updated_at = ?
			WHERE name = ? AND id = ? AND owner = ? AND state = ? AND step = ?`,
		string(in.State), in.Step, string(in.Data), in.Attempts, in.DueAt, in.Owner, in.Cause, in.History, db.Micros(now),
		in.Name, in.ID, was.Owner, string(was.State), was.Step)
	if res.Error != nil {
		return res.Error
	}
	if res.RowsAffected != 1 {
		return errLost
	}
	return nil
}

// hold makes sure that the lease lasts for an attempt that may take need.
func (x *execution) hold(ctx context.Context, need time.Duration) error {
	if x.o.Now().Add(need).Before(db.FromMicros(x.recorded.DueAt)) {
		return nil
	}
	x.need = need
	return x.record(ctx)
}
