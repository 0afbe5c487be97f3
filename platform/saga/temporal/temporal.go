// Package temporal runs the definitions of package saga on Temporal
// (https://temporal.io), for those who operate a cluster of it already.
//
// Register turns a saga.Program into a workflow and one activity for each step
// and direction. The same definition behaves as on the platform's own runner,
// which package sagatest proves: retries, time limits, compensation in reverse,
// CompensationFailed as a failed workflow that a person can see and reset.
//
// A workflow's id is the saga's id, and its start belongs in a relay of the
// module's outbox: Temporal does not take part in the module's transactions.
// Local steps do, once each, through Local.
//
// It is a module of its own, so that the application's binary knows nothing of
// Temporal.
package temporal

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime/debug"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"cleave/platform/fault"
	"cleave/platform/saga"
)

// Registry is a worker of the SDK, or its test environment.
type Registry interface {
	RegisterWorkflowWithOptions(w any, options workflow.RegisterOptions)
	RegisterActivityWithOptions(a any, options activity.RegisterOptions)
}

// Key names one execution of a local step.
type Key struct {
	Saga, ID string
	Step     string // "do confirm", "undo confirm"; "end" for the definition's Failed
}

// Local runs fn in a transaction of the module, once for each key: when the
// key's transaction has committed before, it returns what fn returned then.
type Local func(ctx context.Context, key Key, fn func(ctx context.Context) ([]byte, error)) ([]byte, error)

// Input is what an activity works on.
type Input struct {
	State json.RawMessage
	Cause *Cause // what turned the saga round; nil before that
}

// Cause is a fault as Temporal keeps it.
type Cause struct{ Kind, Code, Message string }

func causeOf(f *fault.Error) *Cause {
	return &Cause{Kind: f.Kind.String(), Code: f.Code, Message: f.Message}
}

func (c *Cause) fault() *fault.Error {
	if c == nil {
		return nil
	}
	return fault.New(fault.ParseKind(c.Kind), c.Code, "%s", c.Message)
}

// The activities of a step.
const (
	do   = "do"
	undo = "undo"
	end  = "end"
)

func activityName(p *saga.Program, kind, step string) string {
	if step == "" {
		return p.Name + "." + kind
	}
	return p.Name + "." + step + "." + kind
}

// Register makes p runnable as a workflow of its name, whose argument is the
// state as JSON and whose result is a Result. Retired steps are registered as
// activities, for workflows that began with them; a change of the steps needs
// a new version of the workflow, as Temporal's documentation says under "Versioning".
func Register(r Registry, p *saga.Program, local Local) {
	r.RegisterWorkflowWithOptions(func(ctx workflow.Context, state json.RawMessage) (Result, error) {
		return run(ctx, p, state)
	}, workflow.RegisterOptions{Name: p.Name})
	register := func(kind, step string, inTx bool, fn saga.Action, retry saga.RetryPolicy) {
		r.RegisterActivityWithOptions(func(ctx context.Context, in Input) (json.RawMessage, error) {
			ctx, cancel := context.WithTimeout(ctx, retry.Timeout)
			defer cancel()
			key := Key{Saga: p.Name, ID: activity.GetInfo(ctx).WorkflowExecution.ID, Step: kind}
			if step != "" {
				key.Step += " " + step
			}
			return perform(ctx, in, fn, inTx, local, key)
		}, activity.RegisterOptions{Name: activityName(p, kind, step)})
	}
	for _, steps := range [][]saga.ProgramStep{p.Steps, p.Retired} {
		for _, st := range steps {
			register(do, st.Name, st.Local, st.Do, st.Retry)
			if st.Undo != nil {
				register(undo, st.Name, st.Local, st.Undo, st.UndoRetry)
			}
		}
	}
	register(end, "", true, p.Failed, p.FailedRetry)
}

func perform(ctx context.Context, in Input, fn saga.Action, inTx bool, local Local, key Key) (json.RawMessage, error) {
	call := func(ctx context.Context) ([]byte, error) { return protected(ctx, fn, in) }
	var data []byte
	var err error
	if inTx {
		data, err = local(ctx, key, call)
	} else {
		data, err = call(ctx)
	}
	if err != nil {
		return nil, translate(err)
	}
	return data, nil
}

func protected(ctx context.Context, fn saga.Action, in Input) (data []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return fn(ctx, in.State, in.Cause.fault())
}

// translate says in Temporal's terms whether another attempt makes sense.
func translate(err error) error {
	f := fault.From(err)
	return temporal.NewApplicationErrorWithOptions(f.Message, f.Code, temporal.ApplicationErrorOptions{
		NonRetryable: !f.Kind.Temporary(), Cause: err, Details: []any{causeOf(f)},
	})
}
