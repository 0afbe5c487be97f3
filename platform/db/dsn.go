package db

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"cleave/platform/fault"
)

// parseDSN reads a Postgres connection string. Its error repeats no part of
// the string, which may hold a password.
func parseDSN(key, dsn string) (*pgx.ConnConfig, error) {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, fault.New(fault.Invalid, "database_dsn",
			"%s is not a Postgres connection string%s: use postgres://user:password@host:5432/database", key, dsnHint(dsn))
	}
	if strings.Contains(cfg.Host, "@") { // it would show in every message about the host
		return nil, fault.New(fault.Invalid, "database_dsn", `%s is not a Postgres connection string: write an "@" in its user or password as %%40`, key)
	}
	return cfg, nil
}

// dsnHint leaves out what the parser quotes: the part behind an unescaped "@" or
// ":" may belong to a password.
func dsnHint(dsn string) string {
	var bad *url.Error
	if _, err := url.Parse(dsn); errors.As(err, &bad) {
		hint, _, _ := strings.Cut(bad.Err.Error(), `"`)
		return " (" + strings.TrimSpace(hint) + ")"
	}
	return ""
}

// connectFault says in one line why a connection failed and what to change.
// cfg is what was tried, key the setting that it came from.
func connectFault(key string, cfg *pgx.ConnConfig, err error) error {
	var (
		pg      *pgconn.PgError
		dns     *net.DNSError
		address = fmt.Sprintf("%s:%d", cfg.Host, cfg.Port)
	)
	invalid := func(code, format string, args ...any) error {
		return fault.New(fault.Invalid, code, format, args...)
	}
	switch {
	case errors.As(err, &pg) && (pg.Code == "28P01" || pg.Code == "28000"):
		return invalid("database_login", "Postgres at %s refuses role %q (%s): correct its password, or run the set-up with the same db.role_secret (%s)",
			address, cfg.User, pg.Message, key)
	case errors.As(err, &pg) && pg.Code == "3D000":
		return invalid("database_unknown", "database %q does not exist at %s: create it or correct %s", cfg.Database, address, key)
	case errors.As(err, &pg) && pg.Code == "42501":
		return invalid("database_login", "role %q may not connect to database %q at %s: run the set-up or correct %s",
			cfg.User, cfg.Database, address, key)
	case errors.As(err, &pg):
		return fault.New(fault.Unavailable, "database_unavailable", "Postgres at %s: %s (SQLSTATE %s)", address, pg.Message, pg.Code)
	case errors.As(err, &dns):
		return fault.New(fault.Unavailable, "database_unreachable", "Postgres: no such host %q: correct the host in %s", cfg.Host, key)
	case errors.Is(err, context.DeadlineExceeded):
		return fault.New(fault.Unavailable, "database_unreachable", "Postgres at %s did not answer within %s: check host, port and network, or correct %s",
			address, connectTimeout, key)
	default:
		return fault.New(fault.Unavailable, "database_unreachable", "cannot reach Postgres at %s (%s): start it or correct host and port in %s",
			address, innermost(err), key)
	}
}

// innermost is the last line of the deepest error: "connect: connection refused".
func innermost(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err.Error()
	}
	for next := errors.Unwrap(err); next != nil; next = errors.Unwrap(err) {
		err = next
	}
	return strings.Join(strings.Fields(err.Error()), " ")
}

// setupFault says what the admin role lacks.
func setupFault(user, database string, err error) error {
	var (
		f  *fault.Error
		pg *pgconn.PgError
	)
	switch {
	case err == nil || errors.As(err, &f):
		return err
	case errors.As(err, &pg) && pg.Code == "42501":
		return fault.New(fault.Invalid, "database_admin",
			"role %q in db.admin_dsn may not set up database %q (%s): it needs CREATEROLE and must own the database", user, database, pg.Message).Wrap(err)
	default:
		return fault.New(fault.Unavailable, "database_setup", "the set-up of database %q failed", database).Wrap(err)
	}
}
