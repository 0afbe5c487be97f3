package chaos_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite" // the driver sqlite
)

// tables runs fn on a module's tables, past the program. A connection is made
// and closed each time: one that stayed open would spare an SQLite file the
// recovery that a killed process leaves to the next.
func (s *shop) tables(module string, fn func(*sql.DB) error) error {
	s.gate.RLock()
	defer s.gate.RUnlock()
	d, err := s.open(module)
	if err != nil {
		return err
	}
	d.SetMaxOpenConns(1)
	defer func() { _ = d.Close() }()
	if err := fn(d); err != nil {
		return fmt.Errorf("the tables of %s: %w", module, err)
	}
	return nil
}

func (s *shop) open(module string) (*sql.DB, error) {
	if s.db.DSN == "" {
		path := (&url.URL{Path: filepath.ToSlash(filepath.Join(s.dir, module+".db"))}).EscapedPath()
		return sql.Open("sqlite", "file:"+path+"?mode=ro&_pragma=busy_timeout(10000)")
	}
	c, err := pgx.ParseConfig(s.db.AdminDSN)
	if err != nil {
		return nil, err
	}
	c.RuntimeParams["search_path"] = `"` + module + `"`
	return stdlib.OpenDB(*c), nil
}

// rows is the answer of a query as texts; NULL is "".
func rows(d *sql.DB, query string, args ...any) (all [][]string, err error) {
	r, err := d.QueryContext(context.Background(), query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	names, err := r.Columns()
	if err != nil {
		return nil, err
	}
	for r.Next() {
		values, into := make([]sql.NullString, len(names)), make([]any, len(names))
		for i := range values {
			into[i] = &values[i]
		}
		if err := r.Scan(into...); err != nil {
			return nil, err
		}
		row := make([]string, len(names))
		for i, v := range values {
			row[i] = v.String
		}
		all = append(all, row)
	}
	return all, r.Err()
}

// read is rows of one module.
func (s *shop) read(module, query string, args ...any) (all [][]string, err error) {
	err = s.tables(module, func(d *sql.DB) error {
		all, err = rows(d, query, args...)
		return err
	})
	return all, err
}

// dump writes a module's tables to files.
func (s *shop) dump(module, dir string) error {
	list := "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
	if s.db.DSN != "" {
		list = "SELECT tablename FROM pg_tables WHERE schemaname = '" + module + "'"
	}
	return s.tables(module, func(d *sql.DB) error {
		names, err := rows(d, list)
		if err != nil {
			return err
		}
		for _, name := range names {
			all, err := rows(d, `SELECT * FROM "`+name[0]+`"`)
			if err != nil {
				return err
			}
			var text strings.Builder
			for _, row := range all {
				fmt.Fprintln(&text, strings.Join(row, "\t"))
			}
			if err := os.WriteFile(filepath.Join(dir, module+"."+name[0]+".tsv"), []byte(text.String()), 0o600); err != nil {
				return err
			}
		}
		return nil
	})
}
