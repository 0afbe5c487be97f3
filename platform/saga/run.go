package saga

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"cleave/platform/backoff"
	"cleave/platform/db"
	"cleave/platform/fault"
	"cleave/platform/telemetry"
)

// errLost means that another process has taken the saga over, or that it has
// moved on; what this run did is rolled back or idempotent.
var errLost = errors.New("the saga's lease was lost")

// execution is one run of an instance. recorded is the row as the database
// holds it, in what the run has reached since.
type execution struct {
	*Runner
	p        *program
	in       instance
	recorded instance
}

func (r *Runner) run(ctx context.Context, in instance) {
	p, ok := r.programs[in.Name]
	if !ok {
		r.o.Log.ErrorContext(ctx, "a stored saga has no definition in this binary", "saga", in.Name, "id", in.ID)
		return
	}
	ctx, span := telemetry.StartConsumer(telemetry.FromTraceparent(ctx, in.Traceparent), "saga "+in.Name)
	x := &execution{Runner: r, p: p, in: in, recorded: in}
	err := x.forward(ctx)
	if err == nil && x.in.State == Compensating {
		err = x.backward(ctx)
	}
	telemetry.End(span, err)
	if err != nil && !errors.Is(err, errLost) && ctx.Err() == nil {
		r.o.Log.ErrorContext(ctx, "saga cannot be recorded; its lease runs out and it runs again", "saga", in.Name, "id", in.ID, "error", err)
	}
}

// forward runs the steps that remain. It returns an error only when the
// database refused to record; a step's failure is recorded progress.
func (x *execution) forward(ctx context.Context) error {
	for x.in.State == Running {
		if x.in.Step == len(x.p.steps) {
			x.in.State = Completed
			return x.record(ctx, nil)
		}
		st := x.p.steps[x.in.Step]
		if d := x.in.Deadline; d > 0 && db.Micros(x.o.Now()) >= d {
			return x.fail(ctx, fault.New(fault.Timeout, "saga_timeout", "the time limit of %s passed before step %s", x.p.name, st.name))
		}
		if err := x.step(ctx, st, st.do, x.in.Step+1, len(x.p.steps)); err != nil {
			if stop, err := x.failedAttempt(ctx, st, err, x.fail); stop || err != nil {
				return err
			}
		}
	}
	return nil
}

// backward undoes the steps done, last first, then ends the saga.
func (x *execution) backward(ctx context.Context) error {
	for x.in.State == Compensating {
		if x.in.Step == 0 {
			return x.end(ctx)
		}
		st := x.p.steps[x.in.Step-1]
		if !st.undoable {
			x.in.Step--
			continue
		}
		if err := x.step(ctx, st, st.undo, x.in.Step-1, -1); err != nil {
			if stop, err := x.failedAttempt(ctx, st, err, x.giveUp); stop || err != nil {
				return err
			}
		}
	}
	return nil
}

// step runs one action and moves to the step next. A local action commits with
// its record; so does the completion of the saga, when next is last. A remote
// one is recorded at once, unless a local step follows that will.
func (x *execution) step(ctx context.Context, st step, do action, next, last int) error {
	if st.local {
		return x.record(ctx, func(ctx context.Context) error {
			data, err := x.call(ctx, do)
			if err != nil {
				return err
			}
			x.in.Data, x.in.Step, x.in.Attempts = data, next, 0
			if next == last {
				x.in.State = Completed
			}
			return nil
		})
	}
	callCtx, cancel := context.WithTimeout(ctx, st.retry.Timeout)
	data, err := x.call(callCtx, do)
	cancel()
	if err != nil {
		return err
	}
	x.in.Data, x.in.Step, x.in.Attempts = data, next, 0
	forwardLocal := x.in.State == Running && next < len(x.p.steps) && x.p.steps[next].local
	if forwardLocal || next == last || (x.in.State == Compensating && next == 0) {
		return nil
	}
	return x.record(ctx, nil)
}

func (x *execution) call(ctx context.Context, do action) (data []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return do(ctx, x.in.Data, x.cause())
}

// failedAttempt decides what a step's error means: another attempt later, or
// the end of this direction through final.
func (x *execution) failedAttempt(ctx context.Context, st step, err error, final func(context.Context, *fault.Error) error) (stop bool, _ error) {
	if errors.Is(err, errLost) || ctx.Err() != nil {
		return true, err
	}
	f := fault.From(err)
	attempts := x.in.Attempts + 1
	if f.Kind.Temporary() && (st.retry.Attempts < 0 || attempts < st.retry.Attempts) {
		delay := backoff.Delay(attempts, st.retry.Min, st.retry.Max)
		x.in.Attempts, x.in.DueAt, x.in.Owner = attempts, db.Micros(x.o.Now().Add(delay)), ""
		x.o.Log.WarnContext(ctx, "saga step failed; will retry", "saga", x.in.Name, "id", x.in.ID, "step", st.name, "attempts", attempts, "error", f)
		time.AfterFunc(delay, func() {
			select {
			case x.wake <- struct{}{}:
			default:
			}
		})
		return true, x.record(ctx, nil)
	}
	return false, final(ctx, f)
}

// fail turns the saga round. A remote step whose outcome is unknown is undone
// as well; a definite refusal has nothing to undo.
func (x *execution) fail(ctx context.Context, f *fault.Error) error {
	cause, err := json.Marshal(storedCause{Kind: f.Kind.String(), Code: f.Code, Message: f.Message})
	if err != nil {
		return err
	}
	if x.in.Step < len(x.p.steps) && f.Kind.Temporary() && !x.p.steps[x.in.Step].local {
		x.in.Step++
	}
	x.in.State, x.in.Cause, x.in.Attempts = Compensating, string(cause), 0
	if x.in.Step == 0 {
		return nil
	}
	return x.record(ctx, nil)
}

// giveUp ends a compensation that cannot succeed, for a person to look at.
func (x *execution) giveUp(ctx context.Context, f *fault.Error) error {
	x.o.Log.ErrorContext(ctx, "saga compensation failed", "saga", x.in.Name, "id", x.in.ID, "step", x.in.Step-1, "error", f)
	x.in.State = CompensationFailed
	return x.record(ctx, nil)
}

// end runs the definition's Failed and closes the saga in one transaction.
func (x *execution) end(ctx context.Context) error {
	last := step{name: "failed", retry: Retry{Attempts: -1}.withDefaults()}
	err := x.record(ctx, func(ctx context.Context) error {
		data, err := x.call(ctx, x.p.failed)
		if err != nil {
			return err
		}
		x.in.Data, x.in.State = data, Compensated
		return nil
	})
	if err != nil {
		_, err = x.failedAttempt(ctx, last, err, x.giveUp)
	}
	return err
}

// record writes what the run has reached, together with the local work of do,
// if the row is still as this run knows it.
func (x *execution) record(ctx context.Context, do func(ctx context.Context) error) error {
	before := x.in
	err := x.db.Tx(ctx, func(ctx context.Context) error {
		x.in = before
		if do != nil {
			if err := do(ctx); err != nil {
				return err
			}
		}
		in, was := x.in, x.recorded
		if in.Owner != "" {
			in.DueAt = db.Micros(x.o.Now().Add(x.o.Lease))
		}
		res := x.db.Conn(ctx).Exec(
			`UPDATE sagas SET state = ?, step = ?, data = ?, attempts = ?, due_at = ?, owner = ?, cause = ?, updated_at = ?
			WHERE name = ? AND id = ? AND owner = ? AND state = ? AND step = ?`,
			string(in.State), in.Step, string(in.Data), in.Attempts, in.DueAt, in.Owner, in.Cause, db.Micros(x.o.Now()),
			in.Name, in.ID, was.Owner, string(was.State), was.Step)
		if res.Error != nil {
			return res.Error
		}
		if res.RowsAffected != 1 {
			return errLost
		}
		return nil
	})
	if err != nil {
		x.in = before
		return err
	}
	x.recorded = x.in
	return nil
}

// storedCause is a fault as the table keeps it.
type storedCause struct{ Kind, Code, Message string }

func (x *execution) cause() *fault.Error {
	if x.in.Cause == "" {
		return nil
	}
	var c storedCause
	if err := json.Unmarshal([]byte(x.in.Cause), &c); err != nil {
		return fault.New(fault.Internal, "", "%s", x.in.Cause)
	}
	return fault.New(fault.ParseKind(c.Kind), c.Code, "%s", c.Message)
}
