package main

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"time"

	"cleave/platform/event/eventtest"
)

// measureRecovery kills the application while it takes orders, starts it again,
// and measures how long after readiness the last order that was under way has
// been confirmed and told of.
func (o *options) measureRecovery(ctx context.Context, b *bed, r *report) error {
	kills := 5
	if o.short {
		kills = 1
	}
	c, err := o.openCluster(ctx, b)
	if err != nil {
		return err
	}
	r.section(fmt.Sprintf("After kill -9 with 40 orders a second under way: from readiness until the last of them is settled (%d kills)", kills))
	openFile := func(dir, module string) (*sql.DB, error) {
		return sql.Open("sqlite", "file:"+filepath.Join(dir, "data", module+".db")+"?_pragma=busy_timeout(5000)")
	}
	for _, store := range []struct {
		name string
		env  []string
		open func(dir, module string) (*sql.DB, error)
	}{
		{"SQLite", []string{"CLEAVE_AUTH_ACCESS_TTL=1h"}, openFile},
		{"SQLite, events over JetStream", []string{"CLEAVE_AUTH_ACCESS_TTL=1h", "CLEAVE_EVENTS_PIPE=" + eventtest.NATS(b).URL}, openFile},
		{"Postgres", nil, nil},
	} {
		if store.open == nil {
			config := c.server.Database(b)
			fresh := *c
			fresh.config = config
			store.env = fresh.env()
			store.open = func(_, module string) (*sql.DB, error) { return openSchema(config.AdminDSN, module) }
		}
		times, err := o.kills(ctx, b, kills, store.name, store.env, store.open)
		if err != nil {
			return fmt.Errorf("%s: %w", store.name, err)
		}
		r.atMost(store.name, times[len(times)-1], 1000, " ms", fmt.Sprintf("longest; median %s ms", short(median(times))))
	}
	return nil
}

// openSchema opens a module's schema as the administrator.
func openSchema(dsn, module string) (*sql.DB, error) {
	u, err := url.Parse(dsn)
	if err != nil {
		return nil, err
	}
	query := u.Query()
	query.Set("search_path", module)
	u.RawQuery = query.Encode()
	return sql.Open("pgx", u.String())
}

// kills returns how long each recovery took, in milliseconds, the longest last.
func (o *options) kills(ctx context.Context, b *bed, n int, store string, env []string, open func(dir, module string) (*sql.DB, error)) ([]float64, error) {
	dir := b.TempDir()
	s, err := launch(ctx, dir, env, o.app, "serve")
	if err != nil {
		return nil, err
	}
	defer func() { s.kill() }()
	sh, err := openShop(s, maxBuyers)
	if err != nil {
		return nil, err
	}
	order, err := open(dir, "order")
	if err != nil {
		return nil, err
	}
	defer func() { _ = order.Close() }()
	notes, err := open(dir, "notification")
	if err != nil {
		return nil, err
	}
	defer func() { _ = notes.Close() }()
	dialect := "sqlite"
	if store == "Postgres" {
		dialect = "postgres"
	}
	if err := stock(ctx, order, dialect, sh); err != nil {
		return nil, err
	}
	var times []float64
	for range n {
		if err := placeUntilKilled(ctx, sh, s); err != nil {
			return nil, err
		}
		if s, err = launch(ctx, dir, env, o.app, "serve"); err != nil {
			return nil, err
		}
		took, err := settled(ctx, order, notes)
		if err != nil {
			return nil, err
		}
		times = append(times, float64(took.Microseconds())/1000)
	}
	if err := s.stop(); err != nil {
		return nil, err
	}
	slices.Sort(times)
	return times, nil
}

// placeUntilKilled places orders for a second and kills the server in the midst
// of them.
func placeUntilKilled(ctx context.Context, sh *shop, s *server) error {
	clients, err := sh.clients(s, 8)
	if err != nil {
		return err
	}
	defer closeAll(clients)
	const orders = 40
	var body []byte
	return atPace(ctx, orders, func(i int) (err error) {
		if i == orders-1 {
			s.kill()
			return nil
		}
		body, err = sh.place(clients[i%len(clients)], body)
		return err
	})
}

// settled waits until no saga runs, no event waits, none is unhandled, and
// everyone whose order was confirmed has been told so.
func settled(ctx context.Context, order, notes *sql.DB) (time.Duration, error) {
	began := time.Now()
	for {
		open := 0
		for _, q := range []struct {
			db    *sql.DB
			query string
			sign  int
		}{
			{order, "SELECT count(*) FROM sagas WHERE state IN ('running', 'compensating')", 1},
			{order, "SELECT count(*) FROM outbox", 1},
			{notes, "SELECT count(*) FROM inbox WHERE state = 'pending'", 1},
			{order, "SELECT count(*) FROM orders WHERE status = 'confirmed' AND number NOT LIKE 'OLD-%'", 1},
			{notes, "SELECT count(*) FROM notifications WHERE kind = 'confirmed'", -1},
		} {
			var n int
			if err := q.db.QueryRowContext(ctx, q.query).Scan(&n); err != nil {
				return 0, err
			}
			open += q.sign * n
		}
		if open == 0 {
			return time.Since(began), nil
		}
		if time.Since(began) > time.Minute {
			return 0, fmt.Errorf("%d sagas and events are unsettled after a minute", open)
		}
		time.Sleep(2 * time.Millisecond)
	}
}
