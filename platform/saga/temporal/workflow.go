package temporal

import (
	"encoding/json"
	"errors"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"cleave/platform/fault"
	"cleave/platform/saga"
)

// Result is how a saga ended. One that is CompensationFailed is a failed
// workflow, with an error of that type whose detail is the Result.
type Result struct {
	State saga.State
	Data  json.RawMessage
	Cause *Cause // what turned it round
	Error *Cause // what a person has to look at
}

// Query is the workflow's query for the Result so far.
const Query = "saga"

// grace is how long an attempt whose time is up may take to say so itself, with
// its fault, before Temporal abandons it.
const grace = time.Second

// execution is one run of a program, as far as it has got.
type execution struct {
	program *saga.Program
	result  Result
	done    int // steps done; while compensating, steps still to undo
}

func run(ctx workflow.Context, p *saga.Program, state json.RawMessage) (Result, error) {
	x := &execution{program: p, result: Result{State: saga.Running, Data: state}}
	if err := workflow.SetQueryHandler(ctx, Query, func() (Result, error) { return x.result, nil }); err != nil {
		return x.result, err
	}
	if f := x.forward(ctx); f != nil {
		x.backward(ctx, f)
	}
	if x.result.State == saga.CompensationFailed {
		return x.result, temporal.NewApplicationErrorWithOptions("the saga needs a person: "+x.result.Error.Message, string(saga.CompensationFailed),
			temporal.ApplicationErrorOptions{NonRetryable: true, Details: []any{x.result}})
	}
	return x.result, nil
}

// forward does the steps. It returns what turns the saga round.
func (x *execution) forward(ctx workflow.Context) *fault.Error {
	var deadline time.Time
	if x.program.Timeout > 0 {
		deadline = workflow.Now(ctx).Add(x.program.Timeout)
	}
	for _, st := range x.program.Steps {
		until := deadline
		if st.Retriable {
			until = time.Time{}
		}
		f := x.attempt(ctx, do, st.Name, st.Retry, until)
		switch {
		case f == nil:
			x.done++
			continue
		case st.Retriable:
			x.giveUp(f)
			return nil
		case f.Kind.Temporary() && !st.Local:
			x.done++ // its outcome is unknown
		}
		return f
	}
	x.result.State = saga.Completed
	return nil
}

// backward undoes what was done, last first, and ends the saga.
func (x *execution) backward(ctx workflow.Context, cause *fault.Error) {
	ctx, _ = workflow.NewDisconnectedContext(ctx) // also after a cancellation
	x.result.State, x.result.Cause = saga.Compensating, causeOf(cause)
	for ; x.done > 0; x.done-- {
		st := x.program.Steps[x.done-1]
		if st.Undo == nil {
			continue
		}
		if f := x.attempt(ctx, undo, st.Name, st.UndoRetry, time.Time{}); f != nil {
			x.giveUp(f)
			return
		}
	}
	if f := x.attempt(ctx, end, "", x.program.FailedRetry, time.Time{}); f != nil {
		x.giveUp(f)
		return
	}
	x.result.State = saga.Compensated
}

func (x *execution) giveUp(f *fault.Error) {
	x.result.State, x.result.Error = saga.CompensationFailed, causeOf(f)
}

// attempt runs an activity until it succeeds or its policy is used up.
func (x *execution) attempt(ctx workflow.Context, kind, step string, retry saga.RetryPolicy, deadline time.Time) *fault.Error {
	late := fault.New(fault.Timeout, "saga_timeout", "the time limit of %s passed before step %s", x.program.Name, step)
	options := workflow.ActivityOptions{
		StartToCloseTimeout: retry.Timeout + grace,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval: retry.Min, BackoffCoefficient: 2, MaximumInterval: retry.Max, MaximumAttempts: int32(max(0, retry.Attempts)),
		},
	}
	if retry.Limit > 0 {
		options.ScheduleToCloseTimeout = retry.Limit
	}
	if !deadline.IsZero() {
		left := deadline.Sub(workflow.Now(ctx))
		if left <= 0 {
			return late
		}
		if options.ScheduleToCloseTimeout == 0 || left < options.ScheduleToCloseTimeout {
			options.ScheduleToCloseTimeout = left
		}
	}
	var data json.RawMessage
	err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, options), activityName(x.program, kind, step), Input{x.result.Data, x.result.Cause}).Get(ctx, &data)
	if err == nil {
		x.result.Data = data
		return nil
	}
	if !deadline.IsZero() && (outOfTime(err) || !workflow.Now(ctx).Before(deadline)) {
		return late
	}
	return faultOf(err)
}

// outOfTime reports whether the time for all attempts was used up.
func outOfTime(err error) bool {
	var timeout *temporal.TimeoutError
	if errors.As(err, &timeout) && timeout.TimeoutType() == enums.TIMEOUT_TYPE_SCHEDULE_TO_CLOSE {
		return true
	}
	var failed *temporal.ActivityError
	return errors.As(err, &failed) && failed.RetryState() == enums.RETRY_STATE_TIMEOUT
}

// faultOf is what an activity failed with.
func faultOf(err error) *fault.Error {
	var timeout *temporal.TimeoutError
	var failed *temporal.ApplicationError
	var canceled *temporal.CanceledError
	switch {
	case errors.As(err, &timeout):
		return fault.New(fault.Timeout, "", "the step did not return in time")
	case errors.As(err, &canceled):
		return fault.New(fault.Canceled, "saga_canceled", "the workflow was cancelled")
	case errors.As(err, &failed) && failed.HasDetails():
		var c Cause
		if failed.Details(&c) == nil {
			return c.fault()
		}
	}
	return fault.New(fault.Internal, "", "internal error")
}
