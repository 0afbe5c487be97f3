package db

import (
	"context"
	"errors"

	"gorm.io/gorm"
)

// Misuse of a unit of work: defects of the caller, so plain errors.
var (
	errEnded    = errors.New("db: the transaction of this context has ended")
	errOutside  = errors.New("db: this needs a transaction: call it inside Tx, with the context that Tx gives")
	errPanicked = errors.New("db: a transaction inside this one did not return")
	errRowsOpen = errors.New("db: the rows of a query were not closed before the end of the transaction")
	errBusy     = errors.New("db: a transaction of this unit is still running: use the context that Tx gave")
)

// scope is one unit of work that a context carries: a transaction, or a lazy
// unit. A context may carry units of several databases.
type scope struct {
	parent *scope
	db     *DB
	txn    *txn
	lazy   *lazy
}

type scopeKey struct{}

func scopeOf(ctx context.Context) *scope {
	s, _ := ctx.Value(scopeKey{}).(*scope)
	return s
}

func (s scope) into(ctx context.Context) context.Context {
	s.parent = scopeOf(ctx)
	return context.WithValue(ctx, scopeKey{}, &s)
}

// find is the innermost unit of d, or nil.
func (d *DB) find(ctx context.Context) *scope {
	for s := scopeOf(ctx); s != nil; s = s.parent {
		if s.db == d {
			return s
		}
	}
	return nil
}

// current is the transaction of the scope, nil in a lazy unit that has none.
func (s *scope) current() *txn {
	if s.lazy != nil {
		return s.lazy.current()
	}
	return s.txn
}

// InTx reports whether ctx carries a transaction that has begun and not ended,
// of any module's database.
func InTx(ctx context.Context) bool {
	for s := scopeOf(ctx); s != nil; s = s.parent {
		if t := s.current(); t != nil && t.open() {
			return true
		}
	}
	return false
}

// Detach is ctx without its units of work, for work that must not join them.
// Deadline, cancellation and other values stay.
func Detach(ctx context.Context) context.Context {
	if scopeOf(ctx) == nil {
		return ctx
	}
	return context.WithValue(ctx, scopeKey{}, (*scope)(nil))
}

// Conn is the open transaction of ctx, else the read pool, on which writes fail.
// Writes in a transaction run at once and report RowsAffected. After a statement
// has failed, the transaction runs no other one, on both dialects. With the
// context of a unit that has ended every statement fails.
func (d *DB) Conn(ctx context.Context) *gorm.DB {
	s := d.find(ctx)
	if s == nil {
		return d.session(ctx, readPool{d})
	}
	if t := s.current(); t != nil {
		return d.session(ctx, txPool{t})
	}
	if s.lazy.ended() {
		return d.session(ctx, refusal{errEnded})
	}
	return d.session(ctx, readPool{d})
}

// Queue collects writes, which reach the database in the order of their calls:
// on Postgres together with the commit in one round trip, or before the next
// statement through Conn; on SQLite at once. An error of a queued statement
// therefore comes from that Conn call or from the end of Tx. There are no
// reads, no RETURNING and no RowsAffected (it is 0). Outside a transaction
// every statement fails.
func (d *DB) Queue(ctx context.Context) *gorm.DB {
	s := d.find(ctx)
	if s == nil {
		return d.session(ctx, refusal{errOutside})
	}
	t := s.current()
	if t == nil {
		return d.session(ctx, refusal{errOutside})
	}
	return d.session(ctx, queuePool{t})
}

// AfterCommit runs fn once the outermost transaction of ctx has committed, in
// the goroutine that committed; without a transaction it runs fn at once. When
// the transaction rolls back, fn is dropped.
func (d *DB) AfterCommit(ctx context.Context, fn func()) {
	if s := d.find(ctx); s != nil {
		if t := s.current(); t != nil && t.afterCommit(fn) {
			return
		}
	}
	fn()
}

func (d *DB) session(ctx context.Context, pool gorm.ConnPool) *gorm.DB {
	s := d.base.Session(&gorm.Session{NewDB: true, Context: ctx})
	s.Statement.ConnPool = pool
	return s
}
