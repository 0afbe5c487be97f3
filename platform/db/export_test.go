package db

import "time"

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
	d.shared.mu.Lock()
	defer d.shared.mu.Unlock()
	for _, s := range d.shared.statements {
		n += len(s.waiting)
	}
	return n, len(d.shared.statements) > 0
}

// HandOver gives the first read that waits a pipeline of its own, in the moment in which it leaves.
func (d *DB) HandOver(leave func()) {
	d.shared.mu.Lock()
	defer d.shared.mu.Unlock()
	leave()
	for _, s := range d.shared.statements {
		s.running++
		s.waiting[0].turn <- lead
		s.waiting = s.waiting[1:]
	}
}
