package db

import (
	"context"
	"database/sql"
	"strconv"
	"strings"
	"unsafe"
)

// firstRows is the room that is made for the first rows of a read, in bytes: few reads have more, and none grows by one row.
const firstRows = 512

// Select returns the rows of a query, which is for reads that are made often:
// it spares GORM's reflection, and on Postgres also database/sql, some 40 µs of
// processor time a read. It runs where Conn would run it, and fails as Conn
// does. On Postgres, outside transactions, reads of one statement that are asked
// for at the same time share round trips, see sharedReads.
//
// columns gives pointers to the fields of a row in the order of the query's
// columns. A field has the kind of its column: a NULL, or a number for a text,
// is an error. Each ? in the query is one argument; there is no list for IN.
// The query is a constant: its text is kept as long as d.
func Select[T any](ctx context.Context, d *DB, columns func(*T) []any, query string, args ...any) ([]T, error) {
	var all []T
	err := d.each(ctx, query, args, func() func(scanner) error {
		all = nil
		row := new(T)
		dest := columns(row)
		return func(scan scanner) error {
			if err := scan(dest...); err != nil {
				return err
			}
			if all == nil {
				all = make([]T, 0, max(firstRows/max(unsafe.Sizeof(*row), 1), 1))
			}
			all = append(all, *row)
			return nil
		}
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

type (
	// scanner reads the columns of the current row into pointers.
	scanner = func(dest ...any) error
	// rowReader begins to read rows, anew with each call, and returns what reads the next one.
	rowReader = func() func(scanner) error
)

// each hands the rows of a query to what rows returns, one by one.
func (d *DB) each(ctx context.Context, query string, args []any, rows rowReader) error {
	var st *sharedStatement
	if d.dialect == postgresDialect {
		st = d.shared.statement(query)
		query = st.query
	}
	s := d.find(ctx)
	switch {
	case s != nil && s.current() != nil:
		found, err := txPool{s.current()}.QueryContext(ctx, query, args...)
		return d.translate(ctx, read(found, err, rows()))
	case s != nil && s.lazy.ended():
		return errEnded
	case st != nil && !st.writes:
		return d.translate(ctx, d.shared.read(ctx, st, args, rows))
	default:
		found, err := readPool{d}.QueryContext(ctx, query, args...)
		return d.translate(ctx, read(found, err, rows()))
	}
}

func read(rows *sql.Rows, err error, row func(scanner) error) error {
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for err == nil && rows.Next() {
		err = row(rows.Scan)
	}
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
