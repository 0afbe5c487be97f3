package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	_ "modernc.org/sqlite" // the driver sqlite
)

// measureSQLite compares placing on SQLite with the driver alone, which runs
// the same statements on a copy of the same file, in this process.
func (o *options) measureSQLite(ctx context.Context, b *bed, r *report) error {
	dir := b.TempDir()
	env := []string{"CLEAVE_AUTH_ACCESS_TTL=1h"}
	s, err := launch(ctx, dir, env, o.self, "serve", "-idle-sagas", "-idle-events")
	if err != nil {
		return err
	}
	sh, err := openShop(s, maxBuyers)
	if err = errors.Join(err, s.stop()); err != nil {
		return err
	}
	file, copied := filepath.Join(dir, "data", "order.db"), filepath.Join(b.TempDir(), "order.db")
	d, err := openBare(ctx, file)
	if err != nil {
		return err
	}
	if err = errors.Join(stock(ctx, d.reader, "sqlite", sh), d.close()); err != nil {
		return err
	}
	if err = copyFile(copied, file); err != nil {
		return err
	}
	if d, err = openBare(ctx, copied); err != nil {
		return err
	}
	defer func() { _ = d.close() }()
	if s, err = launch(ctx, dir, env, o.self, "serve", "-idle-sagas", "-idle-events"); err != nil {
		return err
	}
	defer s.kill()
	c := &cluster{shop: sh}
	served := side{name: "server", run: placeMany(c, s), cpu: func() []part {
		return []part{{"server", cpu(s.pid())}, {"load generator", cpu(os.Getpid())}}
	}}
	bare := side{name: "bare driver", run: func(ctx context.Context, n int, t time.Duration) (sample, error) {
		return drive(ctx, n, t, func(worker int) error { return d.place(ctx, worker) })
	}}
	r.section("Orders placed on SQLite (synchronous FULL), as a ratio to the driver running the same statements without a server")
	for _, n := range o.clients {
		cmp, err := o.compare(ctx, "placing on SQLite", n, served, bare)
		if err != nil {
			return err
		}
		r.atLeast(fmt.Sprintf("placed per second, %d clients", n), cmp.ratio(1, rate), 0.65, cmp.rates())
		r.figure(fmt.Sprintf("99th percentile, %d clients", n), "%s  (%s)", short(cmp.ratio(1, p99)), cmp.tails())
		r.figure(fmt.Sprintf("processor time of an order, %d clients", n), "%s", cmp.processor())
	}
	if err = s.stop(); err != nil {
		return err
	}
	return o.confirmSQLite(ctx, r, sh, dir, file)
}

// confirmSQLite measures what follows from an order, in the application.
func (o *options) confirmSQLite(ctx context.Context, r *report, sh *shop, dir, file string) error {
	d, err := sql.Open("sqlite", "file:"+(&url.URL{Path: file}).EscapedPath())
	if err != nil {
		return err
	}
	_, err = d.ExecContext(ctx, "DELETE FROM sagas; DELETE FROM outbox") // which nothing has followed from
	if err = errors.Join(err, d.Close()); err != nil {
		return err
	}
	s, err := launch(ctx, dir, []string{"CLEAVE_AUTH_ACCESS_TTL=1h"}, o.app, "serve")
	if err != nil {
		return err
	}
	defer s.kill()
	if err = o.confirmationRow(ctx, r, sh, s); err != nil {
		return err
	}
	return s.stop()
}

// bare is the driver on the order module's file: readers, and one writer with
// prepared statements.
type bare struct {
	reader *sql.DB
	writer *sql.DB
	read   *sql.Stmt
	mu     sync.Mutex // guards the writer
	writes []*sql.Stmt
	ids    atomic.Int64
}

func openBare(ctx context.Context, file string) (b *bare, err error) {
	dsn := "file:" + (&url.URL{Path: file}).EscapedPath() + "?" + url.Values{"_pragma": {
		"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)",
	}}.Encode()
	b = &bare{}
	if b.reader, err = sql.Open("sqlite", dsn); err != nil {
		return nil, err
	}
	if b.writer, err = sql.Open("sqlite", dsn); err != nil {
		return nil, err
	}
	b.reader.SetMaxIdleConns(8)
	b.reader.SetMaxOpenConns(8)
	b.writer.SetMaxOpenConns(1)
	if b.read, err = b.reader.PrepareContext(ctx, numbered.ReplaceAllString(placing[0][0].sql, "?")); err != nil {
		return nil, err
	}
	for _, text := range append([]string{"BEGIN IMMEDIATE", "COMMIT"}, sqlOf(placing[1])...) {
		prepared, err := b.writer.PrepareContext(ctx, numbered.ReplaceAllString(text, "?"))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", text, err)
		}
		b.writes = append(b.writes, prepared)
	}
	return b, nil
}

func sqlOf(t transaction) (texts []string) {
	for _, s := range t {
		texts = append(texts, s.sql)
	}
	return texts
}

// place writes one order as the server does.
func (b *bare) place(ctx context.Context, worker int) error {
	n := b.ids.Add(1)
	values := map[string]any{
		"id": fmt.Sprintf("10000000-0000-0000-0000-%012d", n), "text": fmt.Sprintf("%036d", n), "hash": fmt.Sprintf("%064d", n),
		"number": fmt.Sprintf("%017d", n), "now": n, "buyer": fmt.Sprintf("%s%012d", idPrefix, worker),
		"product1": fmt.Sprintf("%s%012d", idPrefix, 1+rand.IntN(products/2)), "product2": fmt.Sprintf("%s%012d", idPrefix, 1+products/2+rand.IntN(products/2)),
		"saga": strings.Repeat("s", 160), "event": make([]byte, 250), "scope": strings.Repeat("s", 47), "answer": make([]byte, 900),
	}
	rows, err := b.read.QueryContext(ctx, bind(placing[0][0], values)...)
	if err != nil {
		return err
	}
	found := 0
	for ; rows.Next(); found++ {
		var (
			id, sku, name, currency string
			price, stock            int64
			active                  bool
		)
		if err = rows.Scan(&id, &sku, &name, &price, &currency, &stock, &active); err != nil {
			return err
		}
	}
	if err = errors.Join(rows.Err(), rows.Close()); err != nil || found != 2 {
		return fmt.Errorf("the catalogue has %d of 2 products: %w", found, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, err = b.writes[0].ExecContext(ctx); err != nil {
		return err
	}
	for i, s := range placing[1] {
		if _, err = b.writes[i+2].ExecContext(ctx, bind(s, values)...); err != nil {
			return fmt.Errorf("%s: %w", s.sql, err)
		}
	}
	_, err = b.writes[1].ExecContext(ctx)
	return err
}

func bind(s statement, values map[string]any) []any {
	args := make([]any, len(s.args))
	for i, arg := range s.args {
		v, ok := values[arg]
		if !ok {
			v = strings.Trim(arg, "'")
			if n, err := strconv.ParseInt(arg, 10, 64); err == nil {
				v = n
			}
		}
		args[i] = v
	}
	return args
}

func (b *bare) close() error { return errors.Join(b.reader.Close(), b.writer.Close()) }

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}
