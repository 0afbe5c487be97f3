package db

import (
	"context"
	"database/sql"
)

// writer is the one connection that writes; a transaction holds it from its
// first statement to its end.
type writer struct {
	conn *sql.Conn
	turn chan struct{}
}

func newWriter(conn *sql.Conn) *writer {
	return &writer{conn: conn, turn: make(chan struct{}, 1)}
}

type sqliteTx struct {
	writer *writer
	alone  bool
	begun  bool
}

func (t *sqliteTx) enter(ctx context.Context) (context.Context, error) {
	if !t.begun {
		select {
		case t.writer.turn <- struct{}{}:
		case <-ctx.Done():
			return ctx, ctx.Err()
		}
		if _, err := t.writer.conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
			<-t.writer.turn
			return ctx, err
		}
		t.begun = true
	}
	return context.WithoutCancel(ctx), nil
}

func (t *sqliteTx) exec(ctx context.Context, query string, args []any) (sql.Result, error) {
	ctx, err := t.enter(ctx)
	if err != nil {
		return nil, err
	}
	return t.writer.conn.ExecContext(ctx, query, args...)
}

func (t *sqliteTx) query(ctx context.Context, query string, args []any) (*sql.Rows, error) {
	ctx, err := t.enter(ctx)
	if err != nil {
		return nil, err
	}
	return t.writer.conn.QueryContext(ctx, query, args...)
}

func (t *sqliteTx) row(ctx context.Context, query string, args []any) (*sql.Row, error) {
	ctx, err := t.enter(ctx)
	if err != nil {
		return nil, err
	}
	return t.writer.conn.QueryRowContext(ctx, query, args...), nil
}

func (t *sqliteTx) queue(ctx context.Context, query string, args []any) error {
	_, err := t.exec(ctx, query, args)
	return err
}

func (t *sqliteTx) commit(ctx context.Context) error {
	if !t.begun {
		return nil
	}
	_, err := t.writer.conn.ExecContext(context.WithoutCancel(ctx), "COMMIT")
	if err != nil {
		t.rollback()
		return err
	}
	<-t.writer.turn
	return nil
}

func (t *sqliteTx) rollback() {
	if t.begun {
		_, _ = t.writer.conn.ExecContext(context.Background(), "ROLLBACK")
		<-t.writer.turn
	}
}
