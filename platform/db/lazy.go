package db

import (
	"context"
	"fmt"
	"sync"
)

// Lazy runs fn in a unit of work whose transaction begins with the first Tx in
// it: until then Conn is the read pool, and a call of another module is
// possible. The transactions in it join that one, and it commits once fn has
// returned nil. When one of them fails, it is rolled back and the next begins
// afresh, unless an earlier one had succeeded: then nothing of the unit is
// written and Lazy returns an error. Inside a unit or a transaction of the
// same database, fn joins it.
//
// What runs a transaction of Tx again runs fn again as a whole, as the caller
// would have to whom it failed: what fn does outside the database before it
// returns must be harmless when done twice, such as a call with an idempotency
// key of its own.
//
// On SQLite the unit holds the only writer from its first statement to its end.
func (d *DB) Lazy(ctx context.Context, fn func(ctx context.Context) error) error {
	if s := d.find(ctx); s != nil {
		if s.lazy != nil {
			return s.lazy.join(ctx, fn)
		}
		return s.txn.join(ctx, fn)
	}
	return repeat(ctx, func(attempt int) (again bool, err error) { return d.unit(ctx, attempt, fn) })
}

func (d *DB) unit(ctx context.Context, attempt int, fn func(context.Context) error) (again bool, err error) {
	u := &lazy{db: d, alone: attempt > 1}
	defer func() { _ = u.rollback() }()
	if err = fn(scope{db: d, lazy: u}.into(ctx)); err == nil {
		err = u.commit(ctx)
	} else if unseen := u.rollback(); unseen != nil {
		err = unseen
	}
	return retryable(err), d.translate(ctx, err)
}

type lazy struct {
	db    *DB
	alone bool // out of commit groups

	mu   sync.Mutex
	txn  *txn  // nil before the first Tx and after one that failed
	kept bool  // a Tx has succeeded
	busy bool  // a Tx is running
	err  error // what lost the work of a Tx that had succeeded
	done bool
}

func (u *lazy) current() *txn {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.txn
}

func (u *lazy) ended() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.done
}

// tx runs fn as one of the unit's transactions.
func (u *lazy) tx(ctx context.Context, fn func(context.Context) error) (err error) {
	t, err := u.enter()
	if err != nil {
		return err
	}
	err = errPanicked
	defer func() { err = u.leave(ctx, t, err) }()
	if err = fn(scope{db: u.db, txn: t}.into(ctx)); err == nil {
		err = t.failure()
	}
	return err
}

func (u *lazy) enter() (*txn, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.done:
		return nil, errEnded
	case u.err != nil:
		return nil, u.err
	case u.busy:
		return nil, errBusy
	}
	u.busy = true
	if u.txn == nil {
		u.txn = u.db.begin(u.alone)
	}
	return u.txn, nil
}

func (u *lazy) leave(ctx context.Context, t *txn, outcome error) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.busy = false
	if outcome == nil {
		u.kept = true
		return nil
	}
	if unseen := t.rollback(); unseen != nil {
		outcome = unseen
	}
	u.txn = nil
	outcome = u.db.translate(ctx, outcome)
	if u.kept {
		u.err = fmt.Errorf("db: a transaction failed after an earlier one of the same unit had succeeded: %w", outcome)
	}
	return outcome
}

// join runs fn in the unit; an error dooms what it may have written.
func (u *lazy) join(ctx context.Context, fn func(context.Context) error) error {
	if u.ended() {
		return errEnded
	}
	err := u.db.translate(ctx, fn(ctx))
	if t := u.current(); t != nil && err != nil {
		t.fail(err)
	}
	return err
}

func (u *lazy) commit(ctx context.Context) error {
	t, err := u.end()
	if err != nil || t == nil {
		return err
	}
	return t.commit(ctx)
}

func (u *lazy) rollback() error {
	if t, _ := u.end(); t != nil {
		return t.rollback()
	}
	return nil
}

// end lets no further transaction in. The last one may still be open.
func (u *lazy) end() (*txn, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.done = true
	return u.txn, u.err
}
