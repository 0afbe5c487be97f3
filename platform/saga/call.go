package saga

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"cleave/platform/fault"
)

// grace is how long a step may take to return once its context has ended.
const grace = time.Second

type result struct {
	data []byte
	err  error
}

// call does a in a goroutine of its own, so that one that ignores its context
// can be left behind: its result is dropped, and until it returns no other
// attempt at this saga begins in this process.
func (x *execution) call(ctx context.Context, a act, timeout time.Duration) ([]byte, error) {
	key := [2]string{x.in.Name, x.in.ID}
	if _, stuck := x.stuck.Load(key); stuck {
		return nil, fault.New(fault.Timeout, "step_stuck", "an earlier attempt has not returned yet")
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	out := make(chan result, 1)
	data, cause := x.in.Data, x.in.cause()
	go func() {
		r := result{err: fmt.Errorf("the step ended its goroutine")}
		defer func() {
			if p := recover(); p != nil {
				r.err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
			}
			out <- r
		}()
		r.data, r.err = a.do(ctx, data, cause)
	}()
	select {
	case r := <-out:
		return r.data, r.err
	case <-ctx.Done():
	}
	patience := time.NewTimer(grace)
	defer patience.Stop()
	select {
	case r := <-out:
		return r.data, r.err
	case <-patience.C:
	}
	x.stuck.Store(key, true)
	go func() {
		<-out
		x.stuck.Delete(key)
	}()
	x.o.Log.ErrorContext(ctx, "a saga's step ignores the end of its context and is left behind", "saga", x.in.Name, "id", x.in.ID, "kind", a.kind, "step", a.step)
	return nil, fault.New(fault.Timeout, "step_stuck", "the step did not return within %s", timeout)
}
