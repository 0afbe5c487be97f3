package db

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// A commit group takes up to groupSize members, and none when its first one has
// waited for the commit for groupWait.
const (
	groupSize = 64
	groupWait = 10 * time.Millisecond
)

// preparedStatements is how many statements the writer keeps.
const preparedStatements = 256

var errRolledBack = errors.New("db: the first member of the group rolled back")

// writer is the one connection that writes to an SQLite file. One transaction
// holds it at a time, from its first statement to its end; the others wait in
// the order of their arrival.
//
// Waiting for the disk is what limits commits, so transactions that wait for
// the writer share one: the holder passes its open transaction on instead of
// committing, each member works inside a savepoint of its own, and the last
// one commits for all. A member that fails rolls back to its savepoint. Members
// see the work of those before them, so every one returns only after the
// commit, with success or with its own error; when the commit fails, they all
// run again, each alone.
type writer struct {
	conn      *sql.Conn
	groupSize int
	groupWait time.Duration
	prepared  *lru.Cache[string, *sql.Stmt]

	mu      sync.Mutex
	held    bool
	waiting []*waiter
}

type waiter struct {
	alone   bool
	granted chan *group // the open group to join, or nil to begin one
}

// group is one physical transaction. Only the holder of the writer touches it;
// err and size are read after ended is closed.
type group struct {
	alone  bool
	size   int
	waits  time.Time // since when the first member does
	broken error     // why it cannot be committed
	err    error
	ended  chan struct{}
}

func newGroup(alone bool) *group {
	return &group{alone: alone, size: 1, ended: make(chan struct{})}
}

// failure is what a member of several says when the group has failed.
func (g *group) failure() error {
	if g.err == nil {
		return nil
	}
	return &groupError{g.err}
}

// groupError is the failure of a group of several transactions: each of them
// may succeed alone.
type groupError struct{ cause error }

func (e *groupError) Error() string { return "commit of several transactions: " + e.cause.Error() }
func (e *groupError) Unwrap() error { return e.cause }

func newWriter(conn *sql.Conn) *writer {
	prepared, _ := lru.NewWithEvict(preparedStatements, func(_ string, s *sql.Stmt) { _ = s.Close() }) // fails only for a size below 1
	return &writer{conn: conn, groupSize: groupSize, groupWait: groupWait, prepared: prepared}
}

// acquire waits until the writer is the caller's and returns the group that it
// joins, or nil when it has to begin one.
func (w *writer) acquire(ctx context.Context, alone bool) (*group, error) {
	w.mu.Lock()
	if !w.held {
		w.held = true
		w.mu.Unlock()
		return nil, nil
	}
	me := &waiter{alone: alone, granted: make(chan *group, 1)}
	w.waiting = append(w.waiting, me)
	w.mu.Unlock()
	select {
	case g := <-me.granted:
		return g, nil
	case <-ctx.Done():
	}
	if !w.leave(me) { // granted meanwhile
		if g := <-me.granted; g != nil {
			w.pass(g)
		} else {
			w.release()
		}
	}
	return nil, ctx.Err()
}

func (w *writer) leave(me *waiter) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, other := range w.waiting {
		if other == me {
			w.waiting = append(w.waiting[:i], w.waiting[i+1:]...)
			return true
		}
	}
	return false
}

// pass gives the group to the next member, or ends it and frees the writer.
func (w *writer) pass(g *group) {
	if w.next(g) {
		return
	}
	if g.err = g.broken; g.err == nil {
		g.err = w.run("COMMIT")
	}
	if g.err != nil {
		_ = w.run("ROLLBACK") // fails when SQLite has rolled back by itself
	}
	close(g.ended)
	w.release()
}

func (w *writer) next(g *group) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.waiting) == 0 || w.waiting[0].alone || g.alone || g.broken != nil || g.size >= w.groupSize {
		return false
	}
	if g.waits.IsZero() {
		g.waits = time.Now()
	} else if time.Since(g.waits) > w.groupWait {
		return false
	}
	g.size++
	w.waiting[0].granted <- g
	w.waiting = w.waiting[1:]
	return true
}

// release gives the writer, which has no open transaction, to the next waiter.
func (w *writer) release() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.waiting) == 0 {
		w.held = false
		return
	}
	w.waiting[0].granted <- nil
	w.waiting = w.waiting[1:]
}

// run executes a statement that controls the transaction.
func (w *writer) run(statement string) error {
	_, err := w.exec(context.Background(), statement, nil)
	return err
}

// exec keeps the statement for its next execution, which saves parsing it.
func (w *writer) exec(ctx context.Context, query string, args []any) (sql.Result, error) {
	statement, ok := w.prepared.Get(query)
	if !ok {
		var err error
		if statement, err = w.conn.PrepareContext(ctx, query); err != nil {
			return nil, err
		}
		w.prepared.Add(query, statement)
	}
	return statement.ExecContext(ctx, args...)
}
