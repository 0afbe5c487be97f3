// Package saga runs work that spans modules as a persisted state machine:
// steps forward, and on a failure that retries cannot mend, compensation in
// reverse order.
//
// A definition names no database and no transport, so that another engine can
// run it: Compile gives it what it needs. Local steps share the transaction
// that records their completion; remote steps run outside any transaction and
// must be idempotent, because a crash between a step and its record runs it
// again.
//
// A saga follows the plan that it began with, the names of its steps, so that
// definitions may change while sagas run. A step that is taken away from a
// definition, or whose meaning changes, is kept under Definition.Retired until
// no saga has it any more; a process that lacks one of a saga's steps leaves
// the saga to a process that has them all. The state's JSON keeps fields that
// this binary does not know.
package saga

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"cleave/platform/fault"
)

// Definition is a saga over state S, which is stored as JSON between steps.
type Definition[S any] struct {
	Name    string
	Timeout time.Duration // of the forward part, from Start; 0 = none. When it has passed, compensation begins, unless a Retriable step was reached
	Steps   []Step[S]
	Retired []Step[S] // steps of earlier versions, for the sagas that began with them
	// Failed runs once after compensation, in the transaction that ends the
	// saga. cause is what made it fail. It is retried like an Undo.
	Failed func(ctx context.Context, s *S, cause *fault.Error) error
}

// Step is one unit of work and its inverse. Temporary faults (fault.Kind's
// Temporary, also panics and time-outs) are retried; any other ends the forward
// part, or the compensation, at once.
type Step[S any] struct {
	Name  string // lower case letters, digits and _
	Local bool   // Do and Undo run in the module's transaction
	// Retriable marks what lies past the point of no return: nothing turns the
	// saga round from here on. When it is refused or Retry is used up, the saga
	// ends as CompensationFailed. Steps after it must be retriable too.
	Retriable bool
	Do        func(ctx context.Context, s *S) error
	Undo      func(ctx context.Context, s *S) error // nil: nothing to undo. Must succeed also when Do never took effect
	Retry     RetryPolicy                           // of Do
	UndoRetry RetryPolicy                           // of Undo
}

// RetryPolicy bounds the attempts at a step, in one direction. A zero field means its
// default.
type RetryPolicy struct {
	Attempts int           // default 10; without end for Undo and retriable steps. Negative = without end
	Min, Max time.Duration // of the exponential backoff, which has jitter; default 50 ms and 10 s, or a minute for Undo and retriable steps
	Timeout  time.Duration // of one attempt; default 3 s, or 5 s of a local step. A step that ignores its context is abandoned a second later
	Limit    time.Duration // of all attempts together; default none, or 24 h for Undo and retriable steps. Negative = none
}

// State is where a saga stands.
type State string

// The states. The last three are final; CompensationFailed needs a person.
const (
	Running            State = "running"
	Compensating       State = "compensating"
	Completed          State = "completed"
	Compensated        State = "compensated"
	CompensationFailed State = "compensation_failed"
)

// Saga is a definition bound to its module's runner.
type Saga[S any] struct {
	program *Program
	runner  *Runner
}

// Start records a new saga with the given id and state in the transaction that
// ctx carries, and lets it run once that commits. A second Start with the same
// id violates sagas_pkey.
func (s *Saga[S]) Start(ctx context.Context, id string, state S) error {
	data, err := json.Marshal(state)
	if err != nil {
		return fmt.Errorf("encode the state of saga %s: %w", s.program.Name, err)
	}
	return s.runner.start(ctx, s.program, id, data)
}

// Register makes d runnable. Names must be unique within the module; a second
// registration of one name panics, since it is a defect of the wiring, and so
// does what Compile refuses.
func Register[S any](r *Runner, d Definition[S]) *Saga[S] {
	p := Compile(d)
	r.add(p)
	return &Saga[S]{program: p, runner: r}
}
