package db

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

const maxRetries = 3

// transaction is one physical transaction of a dialect. It begins with its
// first statement, is never used by two goroutines at once, and is finished
// by exactly one call of commit or rollback.
type transaction interface {
	exec(ctx context.Context, query string, args []any) (sql.Result, error)
	query(ctx context.Context, query string, args []any) (*sql.Rows, error)
	row(ctx context.Context, query string, args []any) (row *sql.Row, end context.CancelFunc, err error)
	queue(ctx context.Context, query string, args []any) error
	commit(ctx context.Context) error // on an error, everything is rolled back or the connection is gone
	rollback() error                  // an error says that what the transaction saw was not committed
}

// Tx runs fn in a transaction, which the context given to fn carries; it
// commits when fn returns nil and rolls back when fn returns an error, panics
// or ends its goroutine. Inside a transaction of the same database fn joins
// it: an error of fn then dooms the outer transaction, even when the caller
// ignores that error.
//
// A violated constraint, also one that appears at commit, is the fault that
// Constraints names. A serialization failure or deadlock in the outermost
// transaction runs fn again, up to 3 times, and so may a failed group commit
// on SQLite: fn must not have effects outside the database. When the
// connection breaks during the commit, the fault is Unavailable and the
// outcome unknown.
func (d *DB) Tx(ctx context.Context, fn func(ctx context.Context) error) error {
	s := d.find(ctx)
	switch {
	case s == nil:
		return d.outermost(ctx, fn)
	case s.lazy != nil:
		return s.lazy.tx(ctx, fn)
	default:
		return s.txn.join(ctx, fn)
	}
}

func (d *DB) outermost(ctx context.Context, fn func(context.Context) error) error {
	return repeat(ctx, func(attempt int) (again bool, err error) { return d.attempt(ctx, attempt, fn) })
}

// repeat calls try until it does not ask for more, up to maxRetries times more,
// after pauses that keep those who met from meeting again.
func repeat(ctx context.Context, try func(attempt int) (again bool, err error)) error {
	for attempt := 1; ; attempt++ {
		again, err := try(attempt)
		if !again || attempt > maxRetries {
			return err
		}
		pause := time.NewTimer(time.Duration(rand.Int64N(int64(attempt) * int64(5*time.Millisecond))))
		select {
		case <-ctx.Done():
			pause.Stop()
			return err
		case <-pause.C:
		}
	}
}

func (d *DB) attempt(ctx context.Context, attempt int, fn func(context.Context) error) (again bool, err error) {
	t := d.begin(attempt > 1)
	defer func() { _ = t.rollback() }()
	if err = fn(scope{db: d, txn: t}.into(ctx)); err == nil {
		err = t.commit(ctx)
	}
	if err == nil {
		return false, nil
	}
	if unseen := t.rollback(); unseen != nil {
		return true, d.translate(ctx, unseen)
	}
	return retryable(err) || retryable(t.failure()), d.translate(ctx, err)
}

// txn is a transaction as contexts carry it.
type txn struct {
	db *DB

	mu        sync.Mutex // one statement at a time, and none after the end
	physical  transaction
	err       error // the first failure
	done      bool
	committed bool
	after     []func()
	rows      []*sql.Rows          // of its queries
	ends      []context.CancelFunc // end its single-row queries
}

// begin starts a transaction; alone keeps it out of a commit group.
func (d *DB) begin(alone bool) *txn { return &txn{db: d, physical: d.newTransaction(alone)} }

// run gives the physical transaction to fn, unless it has ended or failed.
func (t *txn) run(ctx context.Context, fn func(transaction) error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done {
		return errEnded
	}
	if t.err != nil {
		return fmt.Errorf("db: the transaction has failed before: %w", t.err)
	}
	err := ctx.Err()
	if err == nil {
		err = fn(t.physical)
	}
	if err != nil {
		t.err = t.db.translate(ctx, err)
	}
	return t.err
}

func (t *txn) join(ctx context.Context, fn func(context.Context) error) error {
	if !t.open() {
		return errEnded
	}
	outcome := errPanicked
	defer func() { t.fail(outcome) }()
	outcome = t.db.translate(ctx, fn(ctx))
	return outcome
}

// fail dooms the transaction, if err is not nil; the first failure stays.
func (t *txn) fail(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err == nil {
		t.err = err
	}
}

func (t *txn) failure() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

func (t *txn) open() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.done
}

// afterCommit keeps or drops fn. It returns false when fn is to run at once,
// because the transaction has committed.
func (t *txn) afterCommit(fn func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done {
		return !t.committed
	}
	t.after = append(t.after, fn)
	return true
}

// commit ends the transaction and runs what waits for it. It does not commit
// what has failed or what nobody waits for any more.
func (t *txn) commit(ctx context.Context) error {
	after, err := t.finish(ctx)
	if err != nil {
		return t.db.translate(ctx, err)
	}
	for _, fn := range after {
		fn()
	}
	return nil
}

func (t *txn) finish(ctx context.Context) ([]func(), error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done {
		return nil, errEnded
	}
	t.done = true
	if open := t.closeRows(); open && t.err == nil {
		t.err = errRowsOpen
	}
	if t.err == nil {
		t.err = ctx.Err()
	}
	if t.err != nil {
		if unseen := t.physical.rollback(); unseen != nil {
			t.err = unseen
		}
		return nil, t.err
	}
	t.err = t.db.commit(ctx, t.physical)
	t.committed = t.err == nil
	return t.after, t.err
}

// commit ends a physical transaction, also when Config.Commit keeps it from
// committing.
func (d *DB) commit(ctx context.Context, p transaction) error {
	if d.config.Commit == nil {
		return p.commit(ctx)
	}
	tried := false
	err := d.config.Commit(ctx, d.module, func() error {
		tried = true
		return p.commit(ctx)
	})
	if tried {
		return err
	}
	if unseen := p.rollback(); unseen != nil {
		return unseen
	}
	return err
}

// rollback ends the transaction; it does nothing to one that has ended. An
// error says that what the transaction saw was not committed.
func (t *txn) rollback() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done {
		return nil
	}
	t.done = true
	t.closeRows()
	return t.physical.rollback()
}

// closeRows ends queries that the caller has not read to the end nor closed,
// since their connection would wait for that for ever. It reports whether there
// were any.
func (t *txn) closeRows() (open bool) {
	for _, end := range t.ends {
		end()
	}
	for _, rows := range t.rows {
		if _, err := rows.Columns(); err == nil { // an error says that they are closed
			open = true
			_ = rows.Close()
		}
	}
	return open
}
