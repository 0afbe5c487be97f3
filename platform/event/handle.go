package event

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	"cleave/platform/auth"
	"cleave/platform/fault"
	"cleave/platform/telemetry"
	"cleave/platform/traffic"
)

var (
	errNeverReturned = fault.New(fault.Timeout, "event_handler_stuck", "the handler did not return after its time-out, and was given up")
	errGoexit        = errors.New("the handler ended its goroutine")
)

// grace is how long a handler may take at most to notice that its time is up.
const grace = time.Second

// handle runs the handler on one event, in a goroutine of its own: a handler
// that ignores the end of its context is left behind, and the caller rolls back
// the transaction, which then fails every statement that the handler may still
// attempt. Its error is errNeverReturned.
func (w *worker) handle(ctx context.Context, row inboxRow) (err error) {
	ctx, cancel := context.WithTimeout(ctx, w.o.Timeout)
	defer cancel()
	ctx, span := telemetry.StartConsumer(telemetry.FromTraceparent(ctx, row.Traceparent), w.subscriber)
	began := time.Now()
	defer func() {
		w.stats.attempted(ctx, time.Since(began))
		telemetry.End(span, err)
	}()
	var left atomic.Bool // by the handler, or by us
	done := make(chan error, 1)
	go func() {
		err := errGoexit
		defer func() {
			if p := recover(); p != nil {
				err = &panicked{value: p, stack: debug.Stack()}
			}
			done <- err
			if !left.CompareAndSwap(false, true) {
				w.stuck.Add(-1)
			}
		}()
		err = w.handler.handle(withCause(auth.With(traffic.With(ctx, w.source), auth.Service(w.module)), row.ID), row.meta(), row.Payload)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	patience := time.NewTimer(min(grace, w.o.Timeout))
	defer patience.Stop()
	select {
	case err := <-done:
		return err
	case <-patience.C:
	}
	if w.stuck.Add(1); !left.CompareAndSwap(false, true) {
		w.stuck.Add(-1)
		return <-done
	}
	return errNeverReturned
}

// panicked is the panic of a handler.
type panicked struct {
	value any
	stack []byte
}

func (p *panicked) Error() string { return fmt.Sprintf("panic: %v", p.value) }
