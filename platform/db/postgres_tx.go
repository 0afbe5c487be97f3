package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

var errNotCommitted = errors.New("the server rolled the transaction back instead of committing it")

type statement struct {
	sql  string
	args []any
}

// pgTx is a transaction on Postgres that spares round trips: it takes a
// connection when the first statement is sent, BEGIN travels with that
// statement, and what was queued travels with the next one or with COMMIT.
//
// When everything was queued, there is no BEGIN and no COMMIT: the statements
// of one pipeline up to its Sync message are one implicit transaction
// (PostgreSQL documentation, "Frontend/Backend Protocol", "Pipelining").
type pgTx struct {
	pool    *sql.DB
	conn    *sql.Conn
	begun   bool
	pending []statement
}

func (t *pgTx) exec(ctx context.Context, query string, args []any) (sql.Result, error) {
	if t.begun && len(t.pending) == 0 {
		return t.conn.ExecContext(ctx, query, args...)
	}
	tag, err := t.send(ctx, t.opening(statement{query, args}))
	return driver.RowsAffected(tag.RowsAffected()), err
}

func (t *pgTx) query(ctx context.Context, query string, args []any) (*sql.Rows, error) {
	if err := t.flush(ctx); err != nil {
		return nil, err
	}
	return t.conn.QueryContext(ctx, query, args...)
}

func (t *pgTx) row(ctx context.Context, query string, args []any) (*sql.Row, context.CancelFunc, error) {
	if err := t.flush(ctx); err != nil {
		return nil, nil, err
	}
	ctx, end := context.WithCancel(ctx)
	return t.conn.QueryRowContext(ctx, query, args...), end, nil
}

func (t *pgTx) queue(_ context.Context, query string, args []any) error {
	args, err := snapshot(args)
	if err == nil {
		t.pending = append(t.pending, statement{query, args})
	}
	return err
}

func (t *pgTx) flush(ctx context.Context) error {
	if t.begun && len(t.pending) == 0 {
		return nil
	}
	_, err := t.send(ctx, t.opening())
	return err
}

// opening is what has to be sent before and with the given statements.
func (t *pgTx) opening(more ...statement) []statement {
	var all []statement
	if !t.begun {
		all = append(all, statement{sql: "begin"})
	}
	all = append(append(all, t.pending...), more...)
	t.pending, t.begun = nil, true
	return all
}

func (t *pgTx) commit(ctx context.Context) error {
	defer t.release()
	if !t.begun {
		if len(t.pending) == 0 {
			return nil
		}
		_, err := t.send(ctx, t.pending)
		return err
	}
	tag, err := t.send(ctx, append(t.pending, statement{sql: "commit"}))
	if err == nil && tag.String() != "COMMIT" {
		err = errNotCommitted
	}
	return err
}

func (t *pgTx) rollback() error {
	t.release()
	return nil
}

func (t *pgTx) connect(ctx context.Context) (err error) {
	if t.conn == nil {
		t.conn, err = t.pool.Conn(ctx)
	}
	return err
}

// send runs statements in one round trip, once the connection has prepared
// them, and returns the last one's result.
func (t *pgTx) send(ctx context.Context, statements []statement) (tag pgconn.CommandTag, err error) {
	if err := t.connect(ctx); err != nil {
		return tag, err
	}
	batch := &pgx.Batch{}
	for _, s := range statements {
		batch.Queue(s.sql, s.args...)
	}
	err = t.conn.Raw(func(c any) error {
		results := c.(*stdlib.Conn).Conn().SendBatch(ctx, batch)
		var err error
		for range statements {
			if tag, err = results.Exec(); err != nil {
				break
			}
		}
		if closeErr := results.Close(); err == nil {
			err = closeErr
		}
		return err
	})
	return tag, err
}

// release returns the connection to the pool, without a transaction: what is
// still open is rolled back, and if that fails the connection is discarded.
func (t *pgTx) release() {
	if t.conn == nil {
		return
	}
	_ = t.conn.Raw(func(c any) error {
		conn := c.(*stdlib.Conn).Conn()
		if conn.IsClosed() {
			return driver.ErrBadConn
		}
		if conn.PgConn().TxStatus() == 'I' {
			return nil
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if _, err := conn.Exec(ctx, "rollback"); err != nil {
			return driver.ErrBadConn
		}
		return nil
	})
	_ = t.conn.Close()
	t.conn = nil
}

// snapshot copies arguments that the caller could change before they are sent.
func snapshot(args []any) ([]any, error) {
	out := make([]any, len(args))
	for i, arg := range args {
		switch v := arg.(type) {
		case driver.Valuer:
			value, err := v.Value()
			if err != nil {
				return nil, fmt.Errorf("argument %d: %w", i+1, err)
			}
			out[i] = value
			if b, ok := value.([]byte); ok {
				out[i] = append([]byte(nil), b...)
			}
		case []byte:
			out[i] = append([]byte(nil), v...)
		case *string:
			out[i] = deref(v)
		case *int64:
			out[i] = deref(v)
		default:
			out[i] = arg
		}
	}
	return out, nil
}

func deref[T any](p *T) any {
	if p == nil {
		return nil
	}
	return *p
}
