package saga

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"cleave/platform/fault"
)

// Program is a definition with its type erased: all that an engine needs to
// run it. It maps stored state to stored state.
type Program struct {
	Name    string
	Timeout time.Duration
	Steps   []ProgramStep
	Retired []ProgramStep
	Failed  Action // never nil; runs in the module's transaction
	// FailedRetry is the policy of Failed.
	FailedRetry RetryPolicy
}

// ProgramStep is a Step; its policies have their defaults.
type ProgramStep struct {
	Name             string
	Local, Retriable bool
	Retry, UndoRetry RetryPolicy
	Do               Action
	Undo             Action // nil: nothing to undo
}

// Action works on the state, which is JSON, and returns what it has become.
// cause is what turned the saga round; nil before that.
type Action func(ctx context.Context, state []byte, cause *fault.Error) ([]byte, error)

var stepName = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

// Compile erases the type of d. It panics when a step has no proper or no
// unique name, or no Do, or when one that is not retriable follows one that is.
func Compile[S any](d Definition[S]) *Program {
	p := &Program{Name: d.Name, Timeout: d.Timeout, Failed: typed(d.Failed), FailedRetry: RetryPolicy{}.withDefaults(true, true)}
	seen := map[string]bool{}
	compile := func(st Step[S]) ProgramStep {
		if !stepName.MatchString(st.Name) || seen[st.Name] || st.Do == nil {
			panic(fmt.Sprintf("saga %s: step %q needs a unique name like reserve_credit, and a Do", d.Name, st.Name))
		}
		seen[st.Name] = true
		c := ProgramStep{
			Name: st.Name, Local: st.Local, Retriable: st.Retriable, Do: typed(causeless(st.Do)),
			Retry: st.Retry.withDefaults(st.Local, st.Retriable), UndoRetry: st.UndoRetry.withDefaults(st.Local, true),
		}
		if st.Undo != nil {
			c.Undo = typed(causeless(st.Undo))
		}
		return c
	}
	for i, st := range d.Steps {
		if i > 0 && d.Steps[i-1].Retriable && !st.Retriable {
			panic(fmt.Sprintf("saga %s: step %s must be retriable, as the one before it", d.Name, st.Name))
		}
		p.Steps = append(p.Steps, compile(st))
	}
	for _, st := range d.Retired {
		p.Retired = append(p.Retired, compile(st))
	}
	return p
}

func (r RetryPolicy) withDefaults(local, lasting bool) RetryPolicy {
	def := RetryPolicy{Attempts: 10, Min: 50 * time.Millisecond, Max: 10 * time.Second, Timeout: 3 * time.Second}
	if lasting {
		def.Attempts, def.Max, def.Limit = -1, time.Minute, 24*time.Hour
	}
	if local {
		def.Timeout = 5 * time.Second
	}
	if r.Attempts == 0 {
		r.Attempts = def.Attempts
	}
	if r.Min == 0 {
		r.Min = def.Min
	}
	if r.Max == 0 {
		r.Max = max(def.Max, r.Min)
	}
	if r.Timeout == 0 {
		r.Timeout = def.Timeout
	}
	if r.Limit == 0 {
		r.Limit = def.Limit
	}
	return r
}

// The marks that a plan puts behind the name of a step.
const (
	markLocal     = "*"
	markRetriable = "!"
)

// plan names the steps for the table, such as "reserve_credit,confirm*".
func (p *Program) plan() string {
	names := make([]string, len(p.Steps))
	for i, st := range p.Steps {
		names[i] = st.Name
		if st.Local {
			names[i] += markLocal
		}
		if st.Retriable {
			names[i] += markRetriable
		}
	}
	return strings.Join(names, ",")
}

// planned is a step as a plan names it.
type planned struct {
	name             string
	local, retriable bool
}

func parsePlan(plan string) []planned {
	if plan == "" {
		return nil
	}
	var steps []planned
	for name := range strings.SplitSeq(plan, ",") {
		st := planned{name: strings.TrimRight(name, markLocal+markRetriable)}
		marks := name[len(st.name):]
		st.local, st.retriable = strings.Contains(marks, markLocal), strings.Contains(marks, markRetriable)
		steps = append(steps, st)
	}
	return steps
}

// follow returns the steps of a plan, or the name of one that p lacks. A saga
// without a plan began before there were plans, with the steps that p has.
func (p *Program) follow(plan string) (steps []ProgramStep, missing string) {
	if plan == "" || plan == p.plan() {
		return p.Steps, ""
	}
	for _, want := range parsePlan(plan) {
		has := func(st ProgramStep) bool { return st.Name == want.name }
		if i := slices.IndexFunc(p.Steps, has); i >= 0 {
			steps = append(steps, p.Steps[i])
		} else if i := slices.IndexFunc(p.Retired, has); i >= 0 {
			steps = append(steps, p.Retired[i])
		} else {
			return nil, want.name
		}
	}
	return steps, ""
}

func causeless[S any](fn func(context.Context, *S) error) func(context.Context, *S, *fault.Error) error {
	return func(ctx context.Context, s *S, _ *fault.Error) error { return fn(ctx, s) }
}

// typed decodes the state for fn, which may be nil, and encodes what it has
// become.
func typed[S any](fn func(context.Context, *S, *fault.Error) error) Action {
	return func(ctx context.Context, data []byte, cause *fault.Error) ([]byte, error) {
		var s S
		if err := json.Unmarshal(data, &s); err != nil {
			return nil, fault.New(fault.Invalid, "saga_state_undecodable", "the stored state does not decode").Wrap(err)
		}
		known, err := json.Marshal(s)
		if err != nil {
			return nil, err
		}
		if fn == nil {
			return data, nil
		}
		if err := fn(ctx, &s, cause); err != nil {
			return nil, err
		}
		after, err := json.Marshal(s)
		if err != nil {
			return nil, err
		}
		return keepUnknown(data, known, after), nil
	}
}

// keepUnknown adds to after the members of the objects in data that known,
// which is data as the state's type understands it, lacks: a newer binary has
// put them there.
func keepUnknown(data, known, after []byte) []byte {
	if string(data) == string(known) {
		return after
	}
	var was, understood, is map[string]json.RawMessage
	if json.Unmarshal(data, &was) != nil || json.Unmarshal(known, &understood) != nil || json.Unmarshal(after, &is) != nil || is == nil {
		return after
	}
	for name, value := range was {
		inner, both := understood[name]
		now, left := is[name]
		switch {
		case both && left:
			is[name] = keepUnknown(value, inner, now)
		case !both && !left:
			is[name] = value
		}
	}
	merged, err := json.Marshal(is)
	if err != nil {
		return after
	}
	return merged
}
