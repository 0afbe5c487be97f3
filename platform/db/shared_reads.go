package db

import (
	"context"
	"database/sql"
	"runtime"
	"slices"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// maxShared bounds the reads of one pipeline, whose last waits for all.
const maxShared = 64

// sharedReads makes reads that would run at the same time share round trips:
// each statement may run on as many connections at once as there are
// processors, and those that ask for it meanwhile go together in the next
// pipeline. Half of a read by key is system calls and the waking of who waits,
// on both sides, and a pipeline has them once.
//
// A read never sees what is older than its beginning, because it joins none
// that has begun. It waits for reads of the same statement only, so that slow
// ones, or a locked table, hold up no others.
type sharedReads struct {
	pool  *sql.DB
	limit int // of the pipelines of one statement at once

	statements sync.Map // *sharedStatement by its text with ?
}

type sharedStatement struct {
	query  string // with $1, $2 …
	writes bool

	mu      sync.Mutex
	running int
	waiting []*sharedRead
}

type sharedRead struct {
	args []any
	rows rowReader
	turn chan turn // has room for one
}

// turn is what a read that waits is told.
type turn int

const (
	lead  turn = iota // it runs the next pipeline
	done              // its rows have been read
	alone             // its pipeline has failed, maybe through no fault of its own
)

func newSharedReads(pool *sql.DB) *sharedReads {
	return &sharedReads{pool: pool, limit: max(runtime.GOMAXPROCS(0), 2)}
}

func (s *sharedReads) statement(query string) *sharedStatement {
	st, ok := s.statements.Load(query)
	if !ok {
		st, _ = s.statements.LoadOrStore(query, &sharedStatement{query: number(query), writes: writes(query)})
	}
	return st.(*sharedStatement)
}

// read hands the rows of a query to what rows returns. It may read them twice,
// and ends with ctx at the latest.
func (s *sharedReads) read(ctx context.Context, st *sharedStatement, args []any, rows rowReader) error {
	r := &sharedRead{args: args, rows: rows}
	if !s.enter(st, r) {
		select {
		case t := <-r.turn:
			switch t {
			case lead:
			case done:
				return nil
			case alone:
				return s.alone(ctx, st.query, args, rows)
			}
		case <-ctx.Done():
			st.abandon(r)
			return ctx.Err()
		}
	}
	return s.run(ctx, st, r)
}

// enter reports whether r may run now. If not, it has been queued.
func (s *sharedReads) enter(st *sharedStatement, r *sharedRead) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.running < s.limit {
		st.running++
		return true
	}
	r.turn = make(chan turn, 1)
	r.args = slices.Clone(r.args) // the caller may leave before they are sent
	st.waiting = append(st.waiting, r)
	return false
}

// abandon takes back a read that waits. When others run it already, they do so for nobody.
func (st *sharedStatement) abandon(r *sharedRead) {
	st.mu.Lock()
	st.waiting = slices.DeleteFunc(st.waiting, func(other *sharedRead) bool { return other == r })
	st.mu.Unlock()
	select {
	case t := <-r.turn:
		if t == lead {
			st.leave()
		}
	default:
	}
}

// leave hands the place of a pipeline that has ended to the first read that waits.
func (st *sharedStatement) leave() {
	st.mu.Lock()
	defer st.mu.Unlock()
	if len(st.waiting) == 0 {
		st.running--
		return
	}
	st.waiting[0].turn <- lead
	st.waiting = st.waiting[1:]
}

// join returns first with reads that wait.
func (st *sharedStatement) join(first *sharedRead) []*sharedRead {
	runtime.Gosched() // who is about to ask may join
	st.mu.Lock()
	defer st.mu.Unlock()
	n := min(len(st.waiting), maxShared-1)
	all := append(make([]*sharedRead, 0, n+1), first)
	all = append(all, st.waiting[:n]...)
	if st.waiting = st.waiting[n:]; len(st.waiting) == 0 {
		st.waiting = nil
	}
	return all
}

// run reads for r and for who waits.
func (s *sharedReads) run(ctx context.Context, st *sharedStatement, r *sharedRead) error {
	all, read := []*sharedRead(nil), 0
	defer func() {
		for i, other := range all {
			switch {
			case i == 0:
			case i < read:
				other.turn <- done
			default:
				other.turn <- alone
			}
		}
	}()
	defer st.leave()
	if all = st.join(r); len(all) == 1 {
		return s.alone(ctx, st.query, r.args, r.rows)
	}
	if read = s.pipeline(ctx, st.query, all); read == 0 {
		return s.alone(ctx, st.query, r.args, r.rows)
	}
	return nil
}

// pipeline returns how many of the reads it has made. The first that fails ends
// all after it: a pipeline is one transaction.
func (s *sharedReads) pipeline(ctx context.Context, query string, all []*sharedRead) (read int) {
	_ = s.on(ctx, func(conn *pgx.Conn) error {
		batch := &pgx.Batch{QueuedQueries: make([]*pgx.QueuedQuery, 0, len(all))}
		for _, r := range all {
			batch.Queue(query, r.args...)
		}
		results := conn.SendBatch(ctx, batch)
		for _, r := range all {
			rows, err := results.Query()
			if readRows(conn, rows, err, r.rows()) != nil {
				break
			}
			read++
		}
		return results.Close()
	})
	return read
}

func (s *sharedReads) alone(ctx context.Context, query string, args []any, rows rowReader) error {
	return s.on(ctx, func(conn *pgx.Conn) error {
		found, err := conn.Query(ctx, query, args...)
		return readRows(conn, found, err, rows())
	})
}

// on lends fn a connection of the pool. That it is broken shows when the pool
// hands it out, see alive.
func (s *sharedReads) on(ctx context.Context, fn func(*pgx.Conn) error) error {
	conn, err := s.pool.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	return conn.Raw(func(c any) error { return fn(c.(*stdlib.Conn).Conn()) })
}

func readRows(conn *pgx.Conn, rows pgx.Rows, err error, row func(scanner) error) error {
	scan := func(dest ...any) error { return scanNative(conn.TypeMap(), rows, dest) }
	for err == nil && rows.Next() {
		err = row(scan)
	}
	rows.Close()
	if err == nil {
		err = rows.Err()
	}
	return err
}
