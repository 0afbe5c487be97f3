package db

import (
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"cleave/platform/fault"
)

// Constraints names the fault for each constraint that a module's requests may
// violate, by the name that Postgres gives it or the migration writes:
// users_email_key, users_pkey, products_stock_check. A violation that is not
// named here is Internal. A missing value is <table>_<column>_not_null. SQLite
// does not tell which foreign key is violated; the name is then "foreign_key".
type Constraints map[string]*fault.Error

// IsUnique reports whether err comes from a violation of the named unique
// constraint, unique index or primary key.
func IsUnique(err error, constraint string) bool {
	name, unique := violation(err)
	return unique && name == constraint
}

// violation is the name of the constraint that err violates, or "".
func violation(err error) (name string, unique bool) {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pgViolation(pg)
	}
	var lite *sqlite.Error
	if errors.As(err, &lite) {
		return sqliteViolation(lite.Code(), lite.Error())
	}
	return "", false
}

func pgViolation(e *pgconn.PgError) (name string, unique bool) {
	switch e.Code {
	case "23505":
		return e.ConstraintName, true
	case "23503", "23514", "23P01", "23001":
		return e.ConstraintName, false
	case "23502":
		return e.TableName + "_" + e.ColumnName + "_not_null", false
	}
	return "", false
}

// sqliteViolation reads SQLite's message, such as
// "constraint failed: UNIQUE constraint failed: lines.order_id, lines.no (2067)".
func sqliteViolation(code int, message string) (name string, unique bool) {
	subject := message
	if i := strings.LastIndex(subject, "constraint failed: "); i >= 0 {
		subject = subject[i+len("constraint failed: "):]
	}
	if i := strings.LastIndex(subject, " ("); i >= 0 {
		subject = subject[:i]
	}
	switch code {
	case sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_ROWID:
		table, _, _ := strings.Cut(subject, ".")
		return table + "_pkey", true
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE:
		if index, ok := strings.CutPrefix(subject, "index '"); ok { // an index over an expression
			return strings.TrimSuffix(index, "'"), true
		}
		return columnsName(subject) + "_key", true
	case sqlite3.SQLITE_CONSTRAINT_CHECK:
		return subject, false
	case sqlite3.SQLITE_CONSTRAINT_NOTNULL:
		return columnsName(subject) + "_not_null", false
	case sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
		return "foreign_key", false
	}
	return "", false
}

// columnsName turns "lines.order_id, lines.no" into "lines_order_id_no".
func columnsName(columns string) string {
	var name strings.Builder
	for i, column := range strings.Split(columns, ", ") {
		table, column, _ := strings.Cut(column, ".")
		if i == 0 {
			name.WriteString(table)
		}
		name.WriteString("_" + column)
	}
	return name.String()
}
