package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"runtime"
	"time"

	"gorm.io/driver/sqlite"
	"gorm.io/gorm"
	driver "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"cleave/platform/fault"
)

// lockWait is how long, in milliseconds, a connection waits for another process.
const lockWait = 5000

// File is where a module's data lies in the data folder dir.
func File(dir, module string) string { return filepath.Join(dir, module+".db") }

func (d *DB) file() string { return File(d.config.Dir, d.module) }

// sqliteReaders is how many connections read. SQLite works on the caller's
// processor, so that more of them than processors only cost memory, some 250 kB
// each.
func sqliteReaders() int { return max(2, runtime.GOMAXPROCS(0)) }

// sqlitePool opens the module's file. Every committed transaction is on disk
// (synchronous FULL) before its commit returns.
func (d *DB) sqlitePool(conns int, pragmas ...string) (*sql.DB, error) {
	query := url.Values{"_txlock": {"immediate"}, "_pragma": append([]string{
		fmt.Sprintf("busy_timeout(%d)", lockWait), "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)",
	}, pragmas...)}
	path := (&url.URL{Path: filepath.ToSlash(d.file())}).EscapedPath()
	pool, err := sql.Open("sqlite", "file:"+path+"?"+query.Encode())
	if err != nil {
		return nil, err
	}
	pool.SetMaxOpenConns(conns)
	pool.SetMaxIdleConns(conns)
	return pool, nil
}

func (d *DB) openSQLite(ctx context.Context) (gorm.Dialector, error) {
	writer, err := d.sqlitePool(1)
	if err != nil {
		return nil, err
	}
	d.closers = append(d.closers, writer)
	conn, err := firstConn(ctx, writer)
	if err != nil {
		return nil, fault.New(fault.Invalid, "database_file", "cannot open %s (%s): check the data folder", d.file(), innermost(err)).Wrap(err)
	}
	w := newWriter(conn)
	d.writer = w
	d.closers = append([]io.Closer{conn}, d.closers...)
	if d.reader, err = d.sqlitePool(sqliteReaders(), "query_only(1)"); err != nil {
		return nil, err
	}
	d.closers = append(d.closers, d.reader)
	d.newTransaction = func(alone bool) transaction { return &sqliteTx{writer: w, alone: alone} }
	return sqlite.New(sqlite.Config{DriverName: "sqlite", Conn: d.reader}), nil
}

// firstConn connects, and waits while another process turns the same new file
// to WAL: for that lock SQLite does not wait by itself.
func firstConn(ctx context.Context, pool *sql.DB) (*sql.Conn, error) {
	for {
		conn, err := pool.Conn(ctx)
		var lite *driver.Error
		if err == nil || !errors.As(err, &lite) || lite.Code()&0xff != sqlite3.SQLITE_BUSY {
			return conn, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(20 * time.Millisecond):
		}
	}
}
