// Package saga runs work that spans modules as a persisted state machine:
// steps forward, and on a failure that retries cannot mend, compensation in
// reverse order.
//
// A definition names no database and no transport, so that another engine can
// run it. Local steps share the transaction that records their completion;
// remote steps run outside any transaction and must be idempotent, because a
// crash between a step and its record runs it again.
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
	Timeout time.Duration // of the forward part, from Start; 0 = none. When it has passed, compensation begins
	Steps   []Step[S]
	// Failed runs once after compensation, in the transaction that ends the
	// saga. cause is what made it fail.
	Failed func(ctx context.Context, s *S, cause *fault.Error) error
}

// Step is one unit of work and its inverse.
type Step[S any] struct {
	Name  string
	Local bool // Do and Undo run in the module's transaction
	Do    func(ctx context.Context, s *S) error
	Undo  func(ctx context.Context, s *S) error // nil: nothing to undo. Must succeed also when Do never took effect
	Retry Retry
}

// Retry bounds the attempts at a step. Only temporary faults (fault.Kind's
// Temporary) are retried; any other ends the forward part at once.
type Retry struct {
	Attempts int           // 0 = 10, negative = without end
	Min, Max time.Duration // backoff; 0 = 50 ms and 10 s
	Timeout  time.Duration // of one attempt of a remote step; 0 = 3 s. Kept below the lease
}

func (r Retry) withDefaults() Retry {
	if r.Attempts == 0 {
		r.Attempts = 10
	}
	if r.Min == 0 {
		r.Min = 50 * time.Millisecond
	}
	if r.Max == 0 {
		r.Max = 10 * time.Second
	}
	if r.Timeout == 0 {
		r.Timeout = 3 * time.Second
	}
	return r
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
	name    string
	timeout time.Duration
	runner  *Runner
}

// Start records a new saga with the given id and state in the transaction that
// ctx carries, and lets it run once that commits. A second Start with the same
// id violates sagas_pkey.
func (s *Saga[S]) Start(ctx context.Context, id string, state S) error {
	data, err := json.Marshal(state)
	if err != nil {
		return fmt.Errorf("encode the state of saga %s: %w", s.name, err)
	}
	return s.runner.start(ctx, s.name, id, data, s.timeout)
}

// Register makes d runnable. Names must be unique within the module; a second
// registration of one name panics, since it is a defect of the wiring.
func Register[S any](r *Runner, d Definition[S]) *Saga[S] {
	p := &program{name: d.Name, failed: typed(func(ctx context.Context, s *S, cause *fault.Error) error {
		if d.Failed == nil {
			return nil
		}
		return d.Failed(ctx, s, cause)
	})}
	for _, st := range d.Steps {
		p.steps = append(p.steps, step{
			name: st.Name, local: st.Local, retry: st.Retry.withDefaults(), undoable: st.Undo != nil,
			do: typed(func(ctx context.Context, s *S, _ *fault.Error) error { return st.Do(ctx, s) }),
			undo: typed(func(ctx context.Context, s *S, _ *fault.Error) error {
				if st.Undo == nil {
					return nil
				}
				return st.Undo(ctx, s)
			}),
		})
	}
	r.add(p)
	return &Saga[S]{name: d.Name, timeout: d.Timeout, runner: r}
}

// program is a definition with its type erased: it maps stored state to
// stored state.
type program struct {
	name   string
	steps  []step
	failed action
}

type step struct {
	name     string
	local    bool
	undoable bool
	retry    Retry
	do, undo action
}

type action func(ctx context.Context, data []byte, cause *fault.Error) ([]byte, error)

func typed[S any](fn func(context.Context, *S, *fault.Error) error) action {
	return func(ctx context.Context, data []byte, cause *fault.Error) ([]byte, error) {
		var s S
		if err := json.Unmarshal(data, &s); err != nil {
			return nil, fault.New(fault.Invalid, "saga_state_undecodable", "the stored state does not decode").Wrap(err)
		}
		if err := fn(ctx, &s, cause); err != nil {
			return nil, err
		}
		return json.Marshal(s)
	}
}
