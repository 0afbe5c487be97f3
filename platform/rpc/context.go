package rpc

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// calleeContext is the root of a callee's context inside a process: a deadline, and no value of the caller's. The caller, who waits
// for the callee anyway, ends it. Only when somebody asks for its end it becomes a context of the standard library, with a timer: to
// make and stop one took a tenth of a call.
type calleeContext struct {
	deadline time.Time

	mu       sync.Mutex
	err      error                    // nil before the end
	followed atomic.Pointer[followed] // nil until somebody asks
}

type followed struct {
	context.Context
	cancel context.CancelFunc
}

var _ context.Context = (*calleeContext)(nil)

// Deadline implements context.Context.
func (c *calleeContext) Deadline() (time.Time, bool) { return c.deadline, true }

// Value implements context.Context. What it returns is for the context package alone.
func (c *calleeContext) Value(key any) any {
	if f := c.followed.Load(); f != nil {
		return f.Value(key)
	}
	return nil
}

// Done implements context.Context.
func (c *calleeContext) Done() <-chan struct{} {
	if f := c.followed.Load(); f != nil {
		return f.Done()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.followed.Load()
	if f == nil {
		f = &followed{}
		f.Context, f.cancel = context.WithDeadline(context.Background(), c.deadline)
		c.followed.Store(f)
		c.tell(f)
	}
	return f.Done()
}

// Err implements context.Context.
func (c *calleeContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.followed.Load(); f != nil && c.err == nil {
		return f.Err()
	}
	return c.err
}

// end ends the context because of err, which is context.Canceled unless the deadline has passed.
func (c *calleeContext) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
	if f := c.followed.Load(); f != nil {
		c.tell(f)
	}
}

// tell ends f, if c has ended. At the deadline f ends by itself, and so with the right error.
func (c *calleeContext) tell(f *followed) {
	if c.err != nil && !errors.Is(c.err, context.DeadlineExceeded) {
		f.cancel()
	}
}
