package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"strings"

	"gorm.io/gorm"
)

var (
	errPrepare   = errors.New("db: statements are not prepared by hand: the drivers keep them")
	errReadOnly  = errors.New("db: writes need a transaction: call Tx and use its context")
	errQueueRead = errors.New("db: Queue cannot read: no query and no RETURNING (also of columns with a default); use Conn")
)

// The forms of a gorm.ConnPool. None of them is a gorm.TxBeginner or a
// gorm.TxCommitter, so that gorm's own transactions fail instead of going
// around Tx.
var (
	_ gorm.ConnPool = readPool{}
	_ gorm.ConnPool = txPool{}
	_ gorm.ConnPool = queuePool{}
	_ gorm.ConnPool = refusal{}
)

// readPool reads outside transactions.
type readPool struct{ db *DB }

func (readPool) PrepareContext(context.Context, string) (*sql.Stmt, error) { return nil, errPrepare }

func (readPool) ExecContext(context.Context, string, ...any) (sql.Result, error) {
	return nil, errReadOnly
}

func (p readPool) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if writes(query) {
		return nil, errReadOnly
	}
	rows, err := p.db.reader.QueryContext(ctx, query, args...)
	return rows, p.db.translate(ctx, err)
}

func (p readPool) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	if writes(query) {
		return errorRow(errReadOnly)
	}
	return p.db.reader.QueryRowContext(ctx, query, args...)
}

// writes recognises what gorm writes with RETURNING. SQLite's readers refuse all
// writes by themselves, while Postgres has one pool for both.
func writes(query string) bool {
	word, _, _ := strings.Cut(strings.TrimSpace(query), " ")
	switch strings.ToUpper(word) {
	case "INSERT", "UPDATE", "DELETE", "MERGE":
		return true
	}
	return false
}

// txPool runs statements in a transaction.
type txPool struct{ txn *txn }

func (txPool) PrepareContext(context.Context, string) (*sql.Stmt, error) { return nil, errPrepare }

func (p txPool) ExecContext(ctx context.Context, query string, args ...any) (res sql.Result, err error) {
	err = p.txn.run(ctx, func(t transaction) error {
		res, err = t.exec(ctx, query, args)
		return err
	})
	return res, err
}

func (p txPool) QueryContext(ctx context.Context, query string, args ...any) (rows *sql.Rows, err error) {
	err = p.txn.run(ctx, func(t transaction) error {
		if rows, err = t.query(ctx, query, args); err == nil {
			p.txn.rows = append(p.txn.rows, rows)
		}
		return err
	})
	return rows, err
}

func (p txPool) QueryRowContext(ctx context.Context, query string, args ...any) (row *sql.Row) {
	err := p.txn.run(ctx, func(t transaction) error {
		var end context.CancelFunc
		var err error
		if row, end, err = t.row(ctx, query, args); err == nil {
			p.txn.ends = append(p.txn.ends, end)
		}
		return err
	})
	if err != nil {
		return errorRow(err)
	}
	return row
}

// queuePool collects statements of a transaction.
type queuePool struct{ txn *txn }

func (queuePool) PrepareContext(context.Context, string) (*sql.Stmt, error) { return nil, errPrepare }

func (p queuePool) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	err := p.txn.run(ctx, func(t transaction) error { return t.queue(ctx, query, args) })
	return driver.RowsAffected(0), err
}

func (p queuePool) QueryContext(context.Context, string, ...any) (*sql.Rows, error) {
	p.txn.fail(errQueueRead)
	return nil, errQueueRead
}

func (p queuePool) QueryRowContext(context.Context, string, ...any) *sql.Row {
	p.txn.fail(errQueueRead)
	return errorRow(errQueueRead)
}

// refusal fails every statement.
type refusal struct{ err error }

func (r refusal) PrepareContext(context.Context, string) (*sql.Stmt, error) { return nil, r.err }

func (r refusal) ExecContext(context.Context, string, ...any) (sql.Result, error) {
	return nil, r.err
}

func (r refusal) QueryContext(context.Context, string, ...any) (*sql.Rows, error) {
	return nil, r.err
}

func (r refusal) QueryRowContext(context.Context, string, ...any) *sql.Row { return errorRow(r.err) }

// errorRow is a row whose Scan fails with err. database/sql has no constructor
// for one, but a database that cannot be reached gives one.
func errorRow(err error) *sql.Row {
	d := sql.OpenDB(unreachable{err})
	defer func() { _ = d.Close() }()
	return d.QueryRow("")
}

type unreachable struct{ err error }

func (u unreachable) Connect(context.Context) (driver.Conn, error) { return nil, u.err }
func (u unreachable) Driver() driver.Driver                        { return nil }
