package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// statement is one that the server sends, and what it binds: literals as SQL
// writes them, and the names that binding knows.
type statement struct {
	sql  string
	args []string
}

// Transactions are lists of statements; a single one stands for itself.
type transaction []statement

// placing is all that the order module sends while it answers POST
// /api/v1/orders with two lines.
var placing = []transaction{
	{{"SELECT id, sku, name, price_minor, currency, stock, active FROM products WHERE id IN ($1,$2)", []string{"product1", "product2"}}},
	{
		{
			`INSERT INTO "orders" ("id","number","buyer_id","status","total_minor","currency","reason","tracking_code","version","created_at","updated_at")
			VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11)`,
			[]string{"id", "number", "buyer", "'pending'", "200", "'EUR'", "''", "''", "1", "now", "now"},
		},
		{
			`INSERT INTO "order_lines" ("order_id","position","product_id","sku","name","quantity","unit_price_minor")
			VALUES ($1,$2,$3,$4,$5,$6,$7),($8,$9,$10,$11,$12,$13,$14)`,
			[]string{"id", "0", "product1", "'SKU-1'", "'Product 1'", "1", "100", "id", "1", "product2", "'SKU-2'", "'Product 2'", "1", "100"},
		},
		{
			`INSERT INTO sagas (name, id, state, step, data, due_at, deadline, owner, traceparent, plan, created_at, updated_at)
			VALUES ($1, $2, $3, 0, $4, $5, $6, $7, $8, $9, $10, $11)`,
			[]string{"'place_order'", "text", "'running'", "saga", "now", "now", "'" + owner + "'", "''", "'reserve_credit,confirm*'", "now", "now"},
		},
		publish,
		moveStock("product1"),
		moveStock("product2"),
		{
			"INSERT INTO idempotency_keys (scope, key_hash, fingerprint, status, answer, created_at) VALUES ($1, $2, $3, $4, $5, $6)",
			[]string{"scope", "hash", "hash", "201", "answer", "now"},
		},
	},
}

// owner is as long as what the runner of sagas calls itself.
const owner = "00000000-0000-0000-0000-000000000000"

var publish = statement{
	"INSERT INTO outbox (id, type, key, at, traceparent, causation, payload) VALUES ($1, $2, $3, $4, $5, $6, $7)",
	[]string{"text", "'cleave.order.v1.OrderPlaced'", "text", "now", "''", "text", "event"},
}

func moveStock(product string) statement {
	return statement{"UPDATE products SET stock = stock + $1, updated_at = $2 WHERE id = $3", []string{"-1", "now", product}}
}

// confirming is what the order and user modules send for the saga of an order
// that is confirmed.
var confirming = []transaction{
	{
		{
			`INSERT INTO reservations (key, user_id, currency, amount, state, created_at, updated_at) VALUES ($1,
			(SELECT u.id FROM users u JOIN accounts a ON a.user_id = u.id WHERE u.id = $2 AND a.currency = $3 AND NOT u.disabled),
			$4, $5, 'reserved', $6, $7)`,
			[]string{"text", "buyer", "'EUR'", "'EUR'", "200", "now", "now"},
		},
		{
			`UPDATE accounts SET available = available - $1, reserved = reserved + $2, version = version + 1, updated_at = $3 WHERE user_id = $4`,
			[]string{"200", "200", "now", "buyer"},
		},
		{
			"INSERT INTO ledger_entries (id, user_id, kind, amount, currency, reservation_key, note, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
			[]string{"id", "buyer", "'reserve'", "200", "'EUR'", "text", "''", "now"},
		},
	},
	{
		{
			`UPDATE orders SET status = $1, reason = $2, version = version + 1, updated_at = $3 WHERE id = $4 AND status IN ($5)`,
			[]string{"'confirmed'", "''", "now", "id", "'pending'"},
		},
		publish,
		{
			`UPDATE sagas SET state = $1, step = $2, data = $3, attempts = $4, due_at = $5, owner = $6, cause = $7, history = $8, updated_at = $9
			WHERE name = $10 AND id = $11 AND owner = $12 AND state = $13 AND step = $14`,
			[]string{
				"'completed'", "2", "saga", "0", "now", "'" + owner + "'", "''", "history", "now",
				"'place_order'", "text", "'" + owner + "'", "'running'", "0",
			},
		},
	},
}

// reading is what it sends while it answers GET /api/v1/orders/{order_id}.
var reading = []transaction{{{
	`SELECT id, number, buyer_id, status, total_minor, currency, reason, tracking_code, version, created_at, updated_at,
	product_id, sku, name, quantity, unit_price_minor FROM orders JOIN order_lines ON order_id = id WHERE id = $1 ORDER BY position`,
	[]string{"old"},
}}}

// numbered matches the placeholders of Postgres.
var numbered = regexp.MustCompile(`\$\d+`)

// script is transactions in the language of pgbench. It counts its runs, so
// that each order has an id of its own, larger than those before it.
func script(transactions []transaction, pipelined bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\\set n :n + 1\n\\set id :base + :n * 100 + :client_id\n\\set buyer :client_id + 1\n")
	fmt.Fprintf(&b, "\\set p1 random(1, %d)\n\\set p2 random(%d, %d)\n\\set old random(1, %d)\n", products/2, products/2+1, products, oldOrders)
	for _, t := range transactions {
		several := len(t) > 1
		if several && pipelined {
			b.WriteString("\\startpipeline\n")
		}
		if several {
			b.WriteString("BEGIN;\n")
		}
		for _, s := range t {
			b.WriteString(s.pgbench() + ";\n")
		}
		if several {
			b.WriteString("COMMIT;\n")
		}
		if several && pipelined {
			b.WriteString("\\endpipeline\n")
		}
	}
	return b.String()
}

// expressions are the names in the language of pgbench, which has numbers only;
// the texts are padded to the length that they have in the server's rows.
var expressions = map[string]string{
	"id": "lpad(:id, 32, '0')::uuid", "text": "lpad(:id, 36, '0')", "hash": "lpad(:id, 64, '0')", "number": "lpad(:id, 17, '0')",
	"buyer": "lpad(:buyer, 32, '0')::uuid", "product1": "lpad(:p1, 32, '0')::uuid", "product2": "lpad(:p2, 32, '0')::uuid",
	"old": "lpad(:old, 32, '0')::uuid", "now": ":id", "saga": ":saga", "history": ":history", "event": ":event", "scope": ":scope", "answer": ":answer",
}

func (s statement) pgbench() string {
	joined := strings.Join(strings.Fields(s.sql), " ")
	return numbered.ReplaceAllStringFunc(joined, func(p string) string {
		n, _ := strconv.Atoi(p[1:])
		arg := s.args[n-1]
		if e, ok := expressions[arg]; ok {
			return e
		}
		return arg
	})
}

var (
	value = regexp.MustCompile(`\$\d+|'[^']*'|\b\d+\b`)
	space = regexp.MustCompile(`\s+`)
)

// shape is a statement without its values and its line breaks, which is what
// two equal statements have in common in pg_stat_statements: it replaces the
// literals of some.
func shape(sql string) string {
	return value.ReplaceAllString(space.ReplaceAllString(strings.TrimSpace(sql), " "), "?")
}

// count is how often each shape occurs in one run of the transactions.
func count(transactions []transaction) map[string]int {
	n := map[string]int{}
	for _, t := range transactions {
		for _, s := range t {
			n[shape(s.sql)]++
		}
	}
	return n
}
