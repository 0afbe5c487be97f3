package tlsfiles

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// interval is the least time between two looks at the files.
const interval = time.Second

// Watched is what some files hold together, read again when one has changed. It is safe for concurrent use.
type Watched[T any] struct {
	what  string
	paths []string
	read  func() (value T, expires time.Time, err error)
	log   *slog.Logger
	now   func() time.Time

	value  atomic.Pointer[T]
	looked atomic.Int64 // unix nanoseconds

	mu     sync.Mutex  // held by whoever looks
	stamps []time.Time // when the files that value came from were written
}

// Watch returns what read makes of the files at paths, or its error. Later, whenever a file has been written anew, read is called
// again; what it is, and when it expires, is for the log.
func Watch[T any](what string, paths []string, read func() (value T, expires time.Time, err error), log *slog.Logger, now func() time.Time) (*Watched[T], error) {
	w := &Watched[T]{what: what, paths: paths, read: read, log: log, now: now}
	stamps, err := w.stat()
	if err != nil {
		return nil, err
	}
	value, _, err := read()
	if err != nil {
		return nil, err
	}
	w.value.Store(&value)
	w.stamps = stamps
	w.looked.Store(now().UnixNano())
	return w, nil
}

// Get returns the value as the files hold it now, give or take a second. While read refuses them, as when only some have been
// replaced, it is the last good one; the context is for the log.
func (w *Watched[T]) Get(ctx context.Context) T {
	now := w.now().UnixNano()
	if now-w.looked.Load() >= int64(interval) && w.mu.TryLock() {
		w.looked.Store(now)
		w.look(ctx)
		w.mu.Unlock()
	}
	return *w.value.Load()
}

func (w *Watched[T]) look(ctx context.Context) {
	stamps, err := w.stat()
	if err == nil && slices.Equal(stamps, w.stamps) {
		return
	}
	var value T
	var expires time.Time
	if err == nil {
		value, expires, err = w.read()
	}
	if err != nil {
		w.log.ErrorContext(ctx, "the new "+w.what+" cannot be used; the last one stays", "files", w.paths, "error", err)
		return
	}
	w.value.Store(&value)
	w.stamps = stamps
	w.log.InfoContext(ctx, "new "+w.what, "files", w.paths, "expires", expires)
}

// stat follows links: Kubernetes replaces a mounted secret by moving one.
func (w *Watched[T]) stat() ([]time.Time, error) {
	stamps := make([]time.Time, len(w.paths))
	for i, name := range w.paths {
		info, err := os.Stat(name)
		if err != nil {
			return nil, fmt.Errorf("find a file: %w", err)
		}
		stamps[i] = info.ModTime()
	}
	return stamps, nil
}
