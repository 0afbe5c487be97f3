// Package worker has work that keeps a processor busy done by a process of low priority, so that it does not hold up the requests that the
// rest of the program answers. The scheduler lets a thread that was just woken wait for the slice, of some milliseconds, of an equal that
// computes, but not for that of one that is less urgent.
//
// The process is the same program, started again with the first request, on Linux; elsewhere, and where that fails, the work is done in the
// process that asks for it. A process and not a thread: where a thread of low priority has to wait while it holds a lock or keeps
// the garbage collector waiting, so has everything else in its process.
package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// Func answers a request of at most 64 KiB, and not with more. It depends on nothing but the request, and keeps nothing of it.
type Func = func(request []byte) ([]byte, error)

const (
	idleAfter = time.Minute      // a process without requests ends, for its memory
	patience  = 5 * time.Second  // for one answer: a process that gets no processor, or is stopped, must not hold up a request for good
	pause     = 10 * time.Second // before another try, after a process could not be started or ended before its first answer
	endWithin = time.Second      // of the end of its input
	program   = "/proc/self/exe" // also when a newer one has its place in the file system
)

// Worker answers requests in a process of its own.
type Worker struct {
	name    string
	f       Func
	log     *slog.Logger
	program string
	idle    time.Duration

	mu      sync.Mutex
	process *process // nil: none runs
	off     bool     // none is started any more
	after   time.Time
	failing bool
}

// New returns a worker for the function that Main of this program finds by the name. It starts nothing yet.
func New(name string, f Func, log *slog.Logger) *Worker {
	return &Worker{name: name, f: f, log: log, program: program, idle: idleAfter}
}

// Do returns what the function returns for the request; an error has the text of the function's. Requests are worked on at once, however many
// there are, and not given up: who limits how many there are must count each until its answer is there.
func (w *Worker) Do(request []byte) ([]byte, error) {
	if len(request) > maxRequest {
		return nil, fmt.Errorf("a request of %d bytes is longer than %d", len(request), maxRequest)
	}
	const tries = 2
	for range tries {
		p := w.running()
		if p == nil {
			break
		}
		if a, ok := p.ask(request); ok {
			w.well()
			return a.value, a.err
		}
	}
	return w.f(request)
}

// Run ends the process after ctx has ended; what is asked for later is done in this process.
func (w *Worker) Run(ctx context.Context) error {
	<-ctx.Done()
	w.mu.Lock()
	p := w.process
	w.process, w.off = nil, true
	w.mu.Unlock()
	if p != nil {
		p.end()
		<-p.ended
	}
	return nil
}

// running returns the process, started if need be, or nil when there is none.
func (w *Worker) running() *process {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.process != nil || w.off || time.Now().Before(w.after) {
		return w.process
	}
	p, err := w.start()
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		w.off = true
	case err != nil:
		w.failed("a worker process cannot be started: its work is done in the main process", err, true)
	default:
		w.process = p
	}
	return w.process
}

// gone tells that a process has ended that nobody has asked to.
func (w *Worker) gone(p *process, err error, answered bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.process == p {
		w.process = nil
		w.failed("a worker process has ended: another one is started, or its work is done in the main process", err, !answered)
	}
}

// failed logs the first failure in a row, and keeps a process that cannot live from being started again and again.
func (w *Worker) failed(what string, err error, wait bool) {
	if wait {
		w.after = time.Now().Add(pause)
	}
	if !w.failing {
		w.log.Warn(what, "worker", w.name, "error", err)
	}
	w.failing = true
}

// well ends a row of failures.
func (w *Worker) well() {
	w.mu.Lock()
	w.failing = false
	w.mu.Unlock()
}
