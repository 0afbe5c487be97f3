package chaos_test

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	userrest "cleave/modules/user/v1/rest"
)

// Each of these finds what must not be at any moment, in one statement and so
// in one snapshot.
const (
	// A customer's money is somewhere, and each part is what the ledger and the
	// reservations say.
	moneyLost = `SELECT a.user_id, a.granted, a.available, a.reserved, a.captured, l.granted, l.reserved, l.captured, r.reserved, r.captured
		FROM accounts a
		LEFT JOIN (SELECT user_id,
				SUM(CASE kind WHEN 'grant' THEN amount ELSE 0 END) AS granted,
				SUM(CASE kind WHEN 'reserve' THEN amount WHEN 'capture' THEN -amount WHEN 'release' THEN -amount ELSE 0 END) AS reserved,
				SUM(CASE kind WHEN 'capture' THEN amount ELSE 0 END) AS captured
			FROM ledger_entries GROUP BY user_id) l ON l.user_id = a.user_id
		LEFT JOIN (SELECT user_id,
				SUM(CASE state WHEN 'reserved' THEN amount ELSE 0 END) AS reserved,
				SUM(CASE state WHEN 'captured' THEN amount ELSE 0 END) AS captured
			FROM reservations GROUP BY user_id) r ON r.user_id = a.user_id
		WHERE a.granted <> a.available + a.reserved + a.captured OR a.available < 0 OR a.reserved < 0 OR a.captured < 0
			OR a.granted <> COALESCE(l.granted, 0) OR a.reserved <> COALESCE(l.reserved, 0) OR a.captured <> COALESCE(l.captured, 0)
			OR a.reserved <> COALESCE(r.reserved, 0) OR a.captured <> COALESCE(r.captured, 0)`

	// Each piece is in stock or in an order that holds it. A chair was added for
	// each answer that is kept for adding one.
	stockLost = `SELECT * FROM (SELECT p.id, p.name, p.stock, COALESCE((SELECT SUM(l.quantity) FROM order_lines l JOIN orders o ON o.id = l.order_id
				WHERE l.product_id = p.id AND o.status NOT IN ('rejected', 'cancelled')), 0) AS held,
			CASE p.name WHEN 'Chair' THEN (SELECT COUNT(*) FROM idempotency_keys WHERE scope LIKE '%% adjustStock') ELSE 0 END AS added
		FROM products p) AS p WHERE stock < 0 OR stock + held <> %d + added`
)

// firstStock is what each product begins with.
const firstStock = 1_000_000

// audit reads the tables again and again while everything else goes on, and
// counts how often it could.
func (s *shop) audit() {
	for !s.over() {
		if err := s.conserved(); err == nil {
			s.audits.Add(1)
		}
		time.Sleep(15 * time.Millisecond)
	}
}

// conserved adds money and stock up. An error means that it could not be read
// at this moment.
func (s *shop) conserved() error {
	for _, look := range []struct{ module, query, says string }{
		{"user", moneyLost, "money is not conserved (user, granted, available, reserved, captured; ledger: granted, reserved, captured; reservations: reserved, captured)"},
		{"order", fmt.Sprintf(stockLost, firstStock), "stock is not conserved (product, name, in stock, in orders, added)"},
	} {
		err := s.tables(look.module, func(d *sql.DB) error {
			wrong, err := rows(d, look.query)
			for _, row := range wrong {
				s.findings.add("%s: %v", look.says, row)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// watch reads every customer's credit through the API while the server lives.
func (s *shop) watch(c *client) {
	for !s.over() {
		for _, who := range s.customers {
			a := ask(c, "read the credit of "+who.email, func(ctx context.Context, a api) (*userrest.GetCreditResponse, error) {
				return a.users.GetCreditWithResponse(ctx, who.id)
			})
			credit, err := decode[userrest.Credit](a.body)
			switch {
			case a.status == 0:
				return
			case a.status != 200 || err != nil:
				s.findings.add("the credit of %s cannot be read: %d %s", who.email, a.status, a.body)
			case credit.Granted != credit.Available+credit.Reserved+credit.Captured:
				s.findings.add("the API shows %s with %d granted, but %d available, %d reserved and %d captured",
					who.email, credit.Granted, credit.Available, credit.Reserved, credit.Captured)
			}
			s.reads.Add(1)
			time.Sleep(10 * time.Millisecond)
		}
	}
}
