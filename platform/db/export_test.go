package db

import (
	"iter"
	"sync"
	"time"
)

// CommitEach ends the sharing of commits on SQLite, to measure what it gives.
func (d *DB) CommitEach() { d.writer.groupSize = 1 }

// Waiting is how many transactions wait for the writer.
func (d *DB) Waiting() int {
	d.writer.mu.Lock()
	defer d.writer.mu.Unlock()
	return len(d.writer.waiting)
}

// GroupFor lets a commit group take members for the given time.
func (d *DB) GroupFor(wait time.Duration) { d.writer.groupWait = wait }

// SharedReads is how many pipelines of one statement run at once.
func (d *DB) SharedReads() int { return d.shared.limit }

// WaitingReads is how many reads wait for a pipeline, and whether any runs.
func (d *DB) WaitingReads() (n int, running bool) {
	for st := range d.shared.all() {
		st.mu.Lock()
		n += len(st.waiting)
		running = running || st.running > 0
		st.mu.Unlock()
	}
	return n, running
}

// HandOver gives the first read that waits of each statement a pipeline of its own, in the moment in which it leaves.
func (d *DB) HandOver(leave func()) {
	leave = sync.OnceFunc(leave)
	for st := range d.shared.all() {
		st.mu.Lock()
		if len(st.waiting) > 0 {
			leave()
			st.running++
			st.waiting[0].turn <- lead
			st.waiting = st.waiting[1:]
		}
		st.mu.Unlock()
	}
}

func (s *sharedReads) all() iter.Seq[*sharedStatement] {
	return func(yield func(*sharedStatement) bool) {
		s.statements.Range(func(_, st any) bool { return yield(st.(*sharedStatement)) })
	}
}
