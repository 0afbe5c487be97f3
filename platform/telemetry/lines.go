package telemetry

import (
	"io"
	"sync"
	"time"
)

const (
	// linesHeld is how long Lines keeps a line at most, and so the time whose lines a killed process loses.
	linesHeld = 10 * time.Millisecond
	linesFull = 32 << 10 // bytes at which they are written before that
)

// Lines collects the lines of a log, so that a busy server writes a hundred at once: one write for each would be a
// system call for each request. A line that follows 10 ms of silence is written at once, others within 10 ms. A logger on
// top of it flushes it with each warning and error, so that these are written before the program goes on. Flush it
// when the program ends. It is safe for concurrent use.
type Lines struct {
	mu      sync.Mutex
	out     io.Writer
	held    []byte
	written time.Time // last
	later   *time.Timer
}

// NewLines returns Lines that writes to out.
func NewLines(out io.Writer) *Lines { return &Lines{out: out} }

// Write takes one line. An error is that of a write which included the line.
func (l *Lines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	silent := now.Sub(l.written)
	if len(l.held) == 0 {
		if silent >= linesHeld {
			l.written = now
			return l.out.Write(line)
		}
		l.writeAfter(linesHeld - silent)
	}
	l.held = append(l.held, line...)
	if len(l.held) < linesFull {
		return len(line), nil
	}
	return len(line), l.write()
}

// Flush writes what is held.
func (l *Lines) Flush() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.write()
}

func (l *Lines) writeAfter(d time.Duration) {
	if l.later == nil {
		l.later = time.AfterFunc(d, func() { _ = l.Flush() })
		return
	}
	l.later.Reset(d)
}

func (l *Lines) write() error {
	if len(l.held) == 0 {
		return nil
	}
	l.written = time.Now()
	_, err := l.out.Write(l.held)
	l.held = l.held[:0]
	return err
}
