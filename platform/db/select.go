package db

import (
	"context"
	"database/sql"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// Select returns the rows of a query, which is for reads that are made often:
// it spares GORM's reflection, and on Postgres also database/sql, some 40 µs of
// processor time a read. It runs where Conn would run it, and fails as Conn
// does.
//
// columns gives pointers to the fields of a row in the order of the query's
// columns. A field has the kind of its column: a NULL, or a number for a text,
// is an error. Each ? in the query is one argument; there is no list for IN.
func Select[T any](ctx context.Context, d *DB, columns func(*T) []any, query string, args ...any) ([]T, error) {
	var (
		all  []T
		row  T
		dest = columns(&row)
	)
	err := d.each(ctx, query, args, func(scan scanner) error {
		if err := scan(dest...); err != nil {
			return err
		}
		all = append(all, row)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// scanner reads the columns of the current row into pointers.
type scanner = func(dest ...any) error

// each hands the rows of a query to fn, one by one.
func (d *DB) each(ctx context.Context, query string, args []any, fn func(scanner) error) error {
	if d.dialect == postgresDialect {
		query = number(query)
	}
	s := d.find(ctx)
	switch {
	case s != nil && s.current() != nil:
		rows, err := txPool{s.current()}.QueryContext(ctx, query, args...)
		return d.translate(ctx, read(rows, err, fn))
	case s != nil && s.lazy.ended():
		return errEnded
	case d.dialect == postgresDialect && !writes(query):
		return d.translate(ctx, d.eachNative(ctx, query, args, fn))
	default:
		rows, err := readPool{d}.QueryContext(ctx, query, args...)
		return d.translate(ctx, read(rows, err, fn))
	}
}

func read(rows *sql.Rows, err error, fn func(scanner) error) error {
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for err == nil && rows.Next() {
		err = fn(rows.Scan)
	}
	if err == nil {
		err = rows.Err()
	}
	return err
}

// eachNative reads through pgx itself. That a connection of the pool is broken
// shows when the pool hands it out, see alive.
func (d *DB) eachNative(ctx context.Context, query string, args []any, fn func(scanner) error) error {
	conn, err := d.reader.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	return conn.Raw(func(c any) error { return readNative(ctx, c.(*stdlib.Conn).Conn(), query, args, fn) })
}

func readNative(ctx context.Context, conn *pgx.Conn, query string, args []any, fn func(scanner) error) error {
	rows, err := conn.Query(ctx, query, args...)
	scan := func(dest ...any) error { return scanNative(conn.TypeMap(), rows, dest) }
	for err == nil && rows.Next() {
		err = fn(scan)
	}
	rows.Close()
	if err == nil {
		err = rows.Err()
	}
	return err
}

// number writes $1, $2 … for each ? of a query, as GORM does.
func number(query string) string {
	var b strings.Builder
	b.Grow(len(query) + 8)
	for n := 1; ; n++ {
		before, after, found := strings.Cut(query, "?")
		_, _ = b.WriteString(before)
		if !found {
			return b.String()
		}
		_ = b.WriteByte('$')
		_, _ = b.WriteString(strconv.Itoa(n))
		query = after
	}
}
