package db

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"cleave/platform/fault"
)

// translate gives an error of the database its fault: a violated constraint
// the one that the module named, an unreachable, full, locked or read-only
// database Unavailable, an ended context Timeout or Canceled. An error that is
// a fault already, and one that says nothing about the database's state, stays
// as it is. The driver's error remains the cause.
func (d *DB) translate(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	var f *fault.Error
	if errors.As(err, &f) {
		return err
	}
	if name, _ := violation(err); name != "" {
		if f, ok := d.constraints[name]; ok {
			return f.Wrap(err)
		}
		return fault.New(fault.Internal, "constraint_violated", "internal error").Wrap(err)
	}
	if ctx.Err() != nil {
		return fault.From(ctx.Err()).Wrap(err)
	}
	if timedOut(err) {
		return fault.New(fault.Timeout, "", "the database of %s took too long", d.module).Wrap(err)
	}
	if unavailable(err) {
		return fault.New(fault.Unavailable, "database_unavailable", "the database of %s is not available", d.module).Wrap(err)
	}
	if retryable(err) {
		return fault.New(fault.Unavailable, "database_contention", "too many requests change the same data: try again").Wrap(err)
	}
	return err
}

// retryable reports whether the transaction failed for the sake of another one.
func retryable(err error) bool {
	var group *groupError
	if errors.As(err, &group) {
		return true
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code == "40001" || pg.Code == "40P01" // serialization_failure, deadlock_detected
	}
	return false
}

// timedOut reports whether the server's own statement_timeout ended a statement.
func timedOut(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "57014" // query_canceled
}

// unavailable reports whether a database could not do what it may do later.
func unavailable(err error) bool {
	var (
		pg      *pgconn.PgError
		connect *pgconn.ConnectError
		network net.Error
		lite    *sqlite.Error
	)
	switch {
	case errors.As(err, &pg):
		return unavailableState(pg.Code)
	case errors.As(err, &lite):
		switch lite.Code() & 0xff {
		case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR,
			sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN:
			return true
		}
		return false
	case errors.As(err, &connect), errors.As(err, &network), errors.Is(err, pgconn.ErrConnClosed):
		return true
	default:
		return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, driver.ErrBadConn)
	}
}

// unavailableState knows the SQLSTATE classes of a server that cannot serve
// (PostgreSQL documentation, appendix A).
func unavailableState(code string) bool {
	switch {
	case strings.HasPrefix(code, "08"), // connection exception
		strings.HasPrefix(code, "53"),    // insufficient resources: disk full, too many connections
		strings.HasPrefix(code, "57P"),   // shut down, crashed, starting
		strings.HasPrefix(code, "58"),    // system error
		code == "25006", code == "55P03": // read-only, lock not available
		return true
	}
	return false
}
