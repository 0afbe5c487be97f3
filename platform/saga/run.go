package saga

import (
	"context"
	"errors"
	"time"

	"cleave/platform/backoff"
	"cleave/platform/db"
	"cleave/platform/fault"
	"cleave/platform/telemetry"
	"cleave/platform/traffic"
)

// execution is one run of an instance. recorded is the row as the database
// holds it, in what the run has reached since.
type execution struct {
	*Runner
	program  *Program
	steps    []ProgramStep
	in       instance
	recorded instance
	need     time.Duration // what the attempt under way may take, beyond the lease
}

// act is one thing to do: a step's work, its compensation, or the end.
type act struct {
	kind, step string
	do         Action
	local      bool
	retry      RetryPolicy
	until      int64                    // no attempt lasts longer than that; 0 = no limit
	done       func(*instance)          // what its success means
	unrecorded bool                     // success of a remote act is recorded with what follows
	refused    func(*fault.Error) error // what its failure means
}

// run takes an instance as far as it gets now.
func (r *Runner) run(ctx context.Context, in instance) {
	p := r.programs[in.Name]
	steps, _ := p.follow(in.Plan)
	in.entries = decodeHistory(in.History)
	ctx, span := telemetry.StartConsumer(telemetry.FromTraceparent(ctx, in.Traceparent), "saga "+in.Name)
	ctx = traffic.With(ctx, r.source(in.Name))
	x := &execution{Runner: r, program: p, steps: steps, in: in, recorded: in}
	err := x.advance(ctx)
	telemetry.End(span, err)
	if err != nil && !errors.Is(err, errLost) && ctx.Err() == nil {
		r.o.Log.ErrorContext(ctx, "saga cannot be recorded; it waits for another owner", "saga", in.Name, "id", in.ID, "error", err)
	}
}

// advance runs until the saga has ended or has to wait. It returns an error
// only when the database refused to record; a step's failure is recorded
// progress.
func (x *execution) advance(ctx context.Context) error {
	for {
		var a act
		switch {
		case x.in.State == Running && x.in.Step >= len(x.steps):
			x.in.State = Completed
			return x.record(ctx)
		case x.in.State == Running:
			st := x.steps[x.in.Step]
			if x.overdue(st) {
				if err := x.turn(fault.New(fault.Timeout, "saga_timeout", "the time limit of %s passed before step %s", x.in.Name, st.Name)); err != nil {
					return err
				}
				if err := x.turned(ctx); err != nil {
					return err
				}
				continue
			}
			a = x.forward(st)
		case x.in.State == Compensating && x.in.Step == 0:
			a = x.end()
		case x.in.State == Compensating:
			st := x.steps[x.in.Step-1]
			if st.Undo == nil {
				x.in.Step--
				continue
			}
			a = x.backward(st)
		default:
			return nil
		}
		if wait, err := x.attempt(ctx, a); wait || err != nil {
			return err
		}
	}
}

// overdue reports whether the saga's time limit forbids the step.
func (x *execution) overdue(st ProgramStep) bool {
	return !st.Retriable && x.in.Deadline > 0 && db.Micros(x.o.Now()) >= x.in.Deadline
}

func (x *execution) forward(st ProgramStep) act {
	next, last := x.in.Step+1, len(x.steps)
	a := act{
		kind: KindDo, step: st.Name, do: st.Do, local: st.Local, retry: st.Retry,
		unrecorded: next == last || x.steps[next].Local,
		done: func(in *instance) {
			if in.Step = next; next == last && st.Local {
				in.State = Completed
			}
		},
		refused: x.turn,
	}
	if st.Retriable {
		a.refused = x.giveUp
	} else {
		a.until = x.in.Deadline
	}
	return a
}

func (x *execution) backward(st ProgramStep) act {
	next := x.in.Step - 1
	return act{
		kind: KindUndo, step: st.Name, do: st.Undo, local: st.Local, retry: st.UndoRetry,
		unrecorded: next == 0,
		done:       func(in *instance) { in.Step = next },
		refused:    x.giveUp,
	}
}

// end runs the definition's Failed in the transaction that closes the saga.
func (x *execution) end() act {
	return act{
		kind: KindEnd, do: x.program.Failed, local: true, retry: x.program.FailedRetry,
		done:    func(in *instance) { in.State = Compensated },
		refused: x.giveUp,
	}
}

// attempt does a once. It reports true when the saga has to wait for the next
// attempt, or has ended.
func (x *execution) attempt(ctx context.Context, a act) (wait bool, _ error) {
	began := x.o.Now()
	entry := x.in.at(a.kind, a.step, began)
	timeout := x.timeout(a, entry, began)
	if err := x.hold(ctx, timeout); err != nil {
		return true, err
	}
	succeed := func(data []byte) {
		entry.Ended = x.o.Now()
		x.in.note(entry)
		x.in.Data, x.in.Attempts = data, 0
		a.done(&x.in)
	}
	var err error
	if a.local {
		err = x.commit(ctx, func(ctx context.Context) error {
			data, err := x.call(ctx, a, timeout)
			if err == nil {
				succeed(data)
			}
			return err
		})
	} else {
		var data []byte
		if data, err = x.call(ctx, a, timeout); err == nil {
			succeed(data)
		}
	}
	if errors.Is(err, errLost) || (err != nil && ctx.Err() != nil) {
		return true, err
	}
	if x.o.Observer != nil {
		x.o.Observer.SagaAttempted(x.in.Name, a.kind, a.step, err)
	}
	if err != nil {
		return x.failed(ctx, a, entry, fault.From(err))
	}
	if a.local || a.unrecorded {
		return false, nil
	}
	return false, x.record(ctx)
}

// timeout is how long an attempt may take.
func (x *execution) timeout(a act, e Entry, now time.Time) time.Duration {
	t := a.retry.Timeout
	if a.until > 0 {
		t = min(t, db.FromMicros(a.until).Sub(now))
	}
	if a.retry.Limit > 0 {
		t = min(t, e.Began.Add(a.retry.Limit).Sub(now))
	}
	return max(t, time.Millisecond)
}

// failed decides what the failure of an attempt means: another one later, or
// the end of this direction.
func (x *execution) failed(ctx context.Context, a act, e Entry, f *fault.Error) (wait bool, _ error) {
	now := x.o.Now()
	e.Attempts++
	e.Error = describe(f)
	attempts := x.in.Attempts + 1
	delay := backoff.Delay(attempts, a.retry.Min, a.retry.Max)
	due := now.Add(delay)
	used := (a.retry.Attempts > 0 && attempts >= a.retry.Attempts) || (a.retry.Limit > 0 && due.After(e.Began.Add(a.retry.Limit)))
	if f.Kind.Temporary() && !used {
		if a.until > 0 {
			due = db.FromMicros(min(db.Micros(due), a.until))
		}
		x.in.note(e)
		x.in.Attempts, x.in.DueAt, x.in.Owner = attempts, db.Micros(due), ""
		x.o.Log.WarnContext(ctx, "saga step failed; will retry", "saga", x.in.Name, "id", x.in.ID, "kind", a.kind, "step", a.step, "attempts", attempts, "error", f)
		time.AfterFunc(due.Sub(now), x.wakeUp)
		return true, x.record(ctx)
	}
	e.Ended = now
	x.in.note(e)
	if err := a.refused(f); err != nil {
		return true, err
	}
	return x.in.State == CompensationFailed, x.turned(ctx)
}

// turn turns the saga round. A remote step whose outcome is unknown is undone
// as well; a definite refusal has nothing to undo.
func (x *execution) turn(f *fault.Error) (err error) {
	if x.in.Cause, err = encodeCause(f); err != nil {
		return err
	}
	if f.Kind.Temporary() && !x.steps[x.in.Step].Local {
		x.in.Step++
	}
	x.in.State, x.in.Attempts = Compensating, 0
	return nil
}

// turned records a change of direction, unless the end follows, which does it.
func (x *execution) turned(ctx context.Context) error {
	if x.in.State == Compensating && x.in.Step == 0 {
		return nil
	}
	return x.record(ctx)
}

// giveUp ends a saga that can neither go on nor back, for a person to look at.
func (x *execution) giveUp(f *fault.Error) error {
	x.o.Log.Error("saga needs a person", "saga", x.in.Name, "id", x.in.ID, "state", string(x.in.State), "step", x.in.Step, "error", f)
	x.in.State = CompensationFailed
	return nil
}
