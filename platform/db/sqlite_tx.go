package db

import (
	"context"
	"database/sql"
)

// sqliteTx is one transaction on the writer, as a member of a commit group.
type sqliteTx struct {
	writer *writer
	alone  bool   // in no group with others
	group  *group // nil before the first statement
	first  bool   // of the group: it needs no savepoint
}

// enter waits for the writer. Statements are not interrupted when the context
// ends, since SQLite answers an interrupted write by rolling back the whole
// transaction, other members' work included; the next statement fails instead.
func (t *sqliteTx) enter(ctx context.Context) (context.Context, error) {
	calm := context.WithoutCancel(ctx)
	if t.group != nil {
		return calm, nil
	}
	g, err := t.writer.acquire(ctx, t.alone)
	if err != nil {
		return calm, err
	}
	if g == nil {
		if err = t.writer.run("BEGIN IMMEDIATE"); err != nil {
			t.writer.release()
			return calm, err
		}
		t.group, t.first = newGroup(t.alone), true
		return calm, nil
	}
	if err = t.writer.run("SAVEPOINT member"); err != nil {
		g.broken = err
		t.writer.pass(g)
		return calm, err
	}
	t.group = g
	return calm, nil
}

func (t *sqliteTx) exec(ctx context.Context, query string, args []any) (sql.Result, error) {
	ctx, err := t.enter(ctx)
	if err != nil {
		return nil, err
	}
	return t.writer.exec(ctx, query, args)
}

func (t *sqliteTx) query(ctx context.Context, query string, args []any) (*sql.Rows, error) {
	ctx, err := t.enter(ctx)
	if err != nil {
		return nil, err
	}
	return t.writer.conn.QueryContext(ctx, query, args...)
}

func (t *sqliteTx) row(ctx context.Context, query string, args []any) (*sql.Row, context.CancelFunc, error) {
	ctx, err := t.enter(ctx)
	if err != nil {
		return nil, nil, err
	}
	ctx, end := context.WithCancel(ctx)
	return t.writer.conn.QueryRowContext(ctx, query, args...), end, nil
}

func (t *sqliteTx) queue(ctx context.Context, query string, args []any) error {
	_, err := t.exec(ctx, query, args)
	return err
}

// commit waits for the group's commit, however long the members after this one
// take and whether or not ctx ends: giving up would leave the outcome unknown.
func (t *sqliteTx) commit(context.Context) error {
	g := t.group
	if g == nil {
		return nil
	}
	if !t.first {
		if err := t.writer.run("RELEASE member"); err != nil {
			g.broken = err
		}
	}
	t.writer.pass(g)
	<-g.ended
	if g.size == 1 {
		return g.err
	}
	return g.failure()
}

// rollback takes back this member's work only. What cannot be taken back alone
// (SQLite itself rolls back on a full disk, for one) breaks the group. It waits
// for the group's end as well: what made this member fail, such as a key that
// is taken, may be the uncommitted work of another one, and the caller must
// find that committed, or not at all.
func (t *sqliteTx) rollback() error {
	g := t.group
	switch {
	case g == nil:
		return nil
	case t.first:
		g.broken = errRolledBack
	default:
		if err := t.writer.run("ROLLBACK TO member"); err != nil {
			g.broken = err
		} else if err = t.writer.run("RELEASE member"); err != nil {
			g.broken = err
		}
	}
	t.writer.pass(g)
	if t.first {
		return nil
	}
	<-g.ended
	return g.failure()
}
