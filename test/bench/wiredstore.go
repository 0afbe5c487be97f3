package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"cleave/platform/module"
)

// wiredStore runs the statements of the hand-wired services, each group of
// writes as one round trip. Without a database it answers with as much as it
// would with one.
type wiredStore struct{ db *sql.DB }

func openStore(dsn string) (*wiredStore, error) {
	if dsn == "" {
		return &wiredStore{}, nil
	}
	d, err := sql.Open("pgx", dsn)
	if err != nil {
		return nil, err
	}
	d.SetMaxOpenConns(8)
	d.SetMaxIdleConns(8)
	return &wiredStore{db: d}, nil
}

func (s *wiredStore) close() error {
	if s.db == nil {
		return nil
	}
	return s.db.Close()
}

// query is a statement with its arguments.
type query struct {
	sql  string
	args []any
}

// write runs queries as one transaction in one round trip.
func (s *wiredStore) write(ctx context.Context, queries ...query) (err error) {
	if s.db == nil {
		return nil
	}
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	return conn.Raw(func(c any) error {
		b := &pgx.Batch{}
		for _, q := range queries {
			b.Queue(q.sql, q.args...)
		}
		return c.(*stdlib.Conn).Conn().SendBatch(ctx, b).Close()
	})
}

// text reads one text.
func (s *wiredStore) text(ctx context.Context, without, query string, args ...any) (text string, err error) {
	if s.db == nil {
		return without, nil
	}
	err = s.db.QueryRowContext(ctx, query, args...).Scan(&text)
	return text, err
}

func (s *wiredStore) place(ctx context.Context, id, buyer, first, second string) (string, error) {
	products, err := s.text(ctx, "", "SELECT string_agg(name || price_minor || currency || stock, ' ') FROM products WHERE id IN ($1, $2) AND active", first, second)
	if err != nil {
		return "", err
	}
	now := time.Now().UnixMicro()
	number := "O-" + strings.ToUpper(id[24:])
	err = s.write(ctx,
		query{`INSERT INTO orders (id, number, buyer_id, status, total_minor, currency, reason, tracking_code, version, created_at, updated_at)
			VALUES ($1, $2, $3, 'pending', 200, 'EUR', '', '', 1, $4, $4)`, []any{id, number, buyer, now}},
		query{`INSERT INTO order_lines (order_id, position, product_id, sku, name, quantity, unit_price_minor)
			VALUES ($1, 0, $2, 'SKU-1', 'Product 1', 1, 100), ($1, 1, $3, 'SKU-2', 'Product 2', 1, 100)`, []any{id, first, second}},
		query{"UPDATE products SET stock = stock - 1, updated_at = $1 WHERE id IN ($2, $3)", []any{now, first, second}},
	)
	if err != nil {
		return "", err
	}
	answer, err := json.Marshal(map[string]any{"id": id, "number": number, "buyer_id": buyer, "status": "pending", "created_at": now, "version": 1, "names": products})
	return string(answer), err
}

func (s *wiredStore) confirm(ctx context.Context, id string) error {
	return s.write(ctx, query{
		"UPDATE orders SET status = 'confirmed', version = version + 1, updated_at = $1 WHERE id = $2 AND status = 'pending'",
		[]any{time.Now().UnixMicro(), id},
	})
}

func (s *wiredStore) order(ctx context.Context, id string) (string, error) {
	return s.text(ctx, strings.Repeat("x", 400), `SELECT jsonb_build_object('id', id, 'number', number, 'status', status, 'total', total_minor, 'lines',
		(SELECT jsonb_agg(jsonb_build_object('sku', sku, 'name', name, 'quantity', quantity) ORDER BY position) FROM order_lines WHERE order_id = id))::text
		FROM orders WHERE id = $1`, id)
}

func (s *wiredStore) hold(ctx context.Context, request string) (string, error) {
	id, buyer, _ := strings.Cut(request, " ")
	now := time.Now().UnixMicro()
	return "", s.write(ctx,
		query{"INSERT INTO reservations (key, user_id, currency, amount, state, created_at, updated_at) VALUES ($1, $2, 'EUR', 200, 'reserved', $3, $3)", []any{id, buyer, now}},
		query{"UPDATE accounts SET available = available - 200, reserved = reserved + 200, version = version + 1, updated_at = $1 WHERE user_id = $2", []any{now, buyer}},
		query{
			"INSERT INTO ledger_entries (id, user_id, kind, amount, currency, reservation_key, note, created_at) VALUES ($1, $2, 'reserve', 200, 'EUR', $3, '', $4)",
			[]any{module.NewID(), buyer, id, now},
		})
}

func (s *wiredStore) credit(ctx context.Context, user string) (string, error) {
	return s.text(ctx, strings.Repeat("x", 150), "SELECT row_to_json(a)::text FROM accounts a WHERE user_id = $1", user)
}

func (s *wiredStore) tell(ctx context.Context, request string) (string, error) {
	id, user, _ := strings.Cut(request, " ")
	return "", s.write(ctx, query{
		`INSERT INTO notification.notifications (id, user_id, seq, kind, title, body, order_id, created_at)
			VALUES ($1, $2, (SELECT coalesce(max(seq), 0) + 1 FROM notification.notifications WHERE user_id = $2), 'confirmed', 'Order confirmed', $3, $4, $5)`,
		[]any{module.NewID(), user, fmt.Sprintf("Your order %s is confirmed.", id), id, time.Now().UnixMicro()},
	})
}

func (s *wiredStore) list(ctx context.Context, user string) (string, error) {
	return s.text(ctx, strings.Repeat("x", 1000), `SELECT coalesce(jsonb_agg(n), '[]')::text FROM
		(SELECT id, kind, title, body, order_id, created_at FROM notification.notifications WHERE user_id = $1 ORDER BY seq DESC LIMIT 5) n`, user)
}
