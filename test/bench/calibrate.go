package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// constants are values of the server's rows that pgbench writes into its own.
type constants map[string]string

// housekeeping are statements with which a server looks for work that was left
// behind, at its start and then now and again. They begin like this.
var housekeeping = []string{
	"DELETE FROM inbox", "SELECT seq, id, type, source", "SELECT count(*) FROM (SELECT", "SELECT * FROM sagas", "DELETE FROM outbox_dead",
	"DELETE FROM event_history", "SELECT seq, subject, session", "DELETE FROM revocations", "SELECT version FROM policy_version", "SELECT owner FROM saga_owners", "SELECT pg_try_advisory_xact_lock",
}

func isHousekeeping(query string) bool {
	return slices.ContainsFunc(housekeeping, func(begin string) bool { return strings.HasPrefix(query, begin) })
}

// check places or reads a few orders, one after the other, and compares what
// Postgres was sent for each with the transactions that pgbench is to run.
// BEGIN and COMMIT are left out: the server sends them along with other
// statements, or not at all where one pipeline is one transaction.
// settle, which may be nil, waits for what the server does afterwards.
func (c *cluster) check(ctx context.Context, s *server, transactions []transaction, one func(*client) error, settle func(context.Context) error) error {
	const orders = 10
	if settle == nil {
		settle = func(context.Context) error { return nil }
	}
	clients, err := c.shop.clients(s, 1)
	if err != nil {
		return err
	}
	defer closeAll(clients)
	if err = one(clients[0]); err != nil { // connections are made, statements prepared
		return err
	}
	if err = settle(ctx); err != nil {
		return err
	}
	d, err := c.open("postgres")
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	if _, err = d.ExecContext(ctx, "SELECT pg_stat_statements_reset()"); err != nil {
		return err
	}
	for range orders {
		if err = one(clients[0]); err != nil {
			return err
		}
	}
	if err = settle(ctx); err != nil {
		return err
	}
	rows, err := d.QueryContext(ctx, `SELECT query, calls FROM pg_stat_statements s JOIN pg_roles r ON r.oid = userid JOIN pg_database d ON d.oid = dbid
		WHERE datname = $1 AND rolname IN ($1 || '_order', $1 || '_user') AND lower(query) NOT IN ('begin', 'commit')`, c.database())
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	sent := map[string]int{}
	for rows.Next() {
		var (
			query string
			calls int
		)
		if err = rows.Scan(&query, &calls); err != nil {
			return err
		}
		if !isHousekeeping(query) {
			sent[shape(query)] += calls
		}
	}
	if err = rows.Err(); err != nil {
		return err
	}
	expected := count(transactions)
	var wrong []string
	for _, q := range slices.Sorted(maps.Keys(expected)) {
		if sent[q] != orders*expected[q] {
			wrong = append(wrong, fmt.Sprintf("%d instead of %d times for %d orders: %s", sent[q], orders*expected[q], orders, q))
		}
	}
	for _, q := range slices.Sorted(maps.Keys(sent)) {
		if expected[q] == 0 {
			wrong = append(wrong, fmt.Sprintf("%d times for %d orders, and not by pgbench: %s", sent[q], orders, q))
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("the server does not send what pgbench is to run (test/bench/statements.go):\n%s", strings.Join(wrong, "\n"))
	}
	return nil
}

// confirmed waits until no order is under way.
func (c *cluster) confirmed(ctx context.Context) error {
	return c.until(ctx, `SELECT NOT EXISTS (SELECT FROM "order".sagas WHERE state IN ('running', 'compensating'))`)
}

// told waits until no order is under way and everyone has been told of them,
// but for the mails.
func (c *cluster) told(ctx context.Context) error {
	return c.until(ctx, `SELECT NOT EXISTS (SELECT FROM "order".sagas WHERE state IN ('running', 'compensating'))
		AND NOT EXISTS (SELECT FROM "order".outbox) AND NOT EXISTS (SELECT FROM notification.inbox WHERE state = 'pending')`)
}

// until asks the server's database each 5 ms until it answers yes.
func (c *cluster) until(ctx context.Context, question string) error {
	d, err := c.open(c.database())
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		var yes bool
		if err = d.QueryRowContext(ctx, question).Scan(&yes); err != nil {
			return fmt.Errorf("wait for the orders under way: %w", err)
		}
		if yes {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// sizes reads from the server's last order what pgbench is to write into its
// rows, so that they are as long.
func (c *cluster) sizes(ctx context.Context) (constants, error) {
	d, err := c.open(c.database())
	if err != nil {
		return nil, err
	}
	defer func() { _ = d.Close() }()
	v := constants{}
	for name, query := range map[string]string{
		"saga":    "SELECT data FROM sagas ORDER BY created_at DESC LIMIT 1",
		"history": "SELECT history FROM sagas ORDER BY created_at DESC LIMIT 1",
		"event":   `SELECT '\x' || encode(payload, 'hex') FROM outbox ORDER BY seq DESC LIMIT 1`,
		"scope":   "SELECT scope FROM idempotency_keys ORDER BY created_at DESC LIMIT 1",
		"answer":  `SELECT '\x' || encode(answer, 'hex') FROM idempotency_keys ORDER BY created_at DESC LIMIT 1`,
	} {
		var text string
		if err = d.QueryRowContext(ctx, query).Scan(&text); err != nil {
			return nil, fmt.Errorf("read the size of %s: %w", name, err)
		}
		if text != "" { // of a saga that has not run; pgbench knows no empty texts
			v[name] = text
		}
	}
	return v, nil
}
