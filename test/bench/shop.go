package main

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
)

// What is in the shop before the first order.
const (
	products  = 1000
	oldOrders = 20_000 // orders that exist already, of two lines each
	credit    = 900_000_000_000
)

// shop is a server's data as its clients know it.
type shop struct {
	admin  buyer
	buyers []buyer
	keys   atomic.Int64 // makes the next Idempotency-Key
	run    int64        // tells apart the keys of two runs on one database
}

type buyer struct{ id, token string }

// openShop registers the buyers through the API, gives them credit, and logs
// them in. Tokens last for an hour.
func openShop(s *server, buyers int) (*shop, error) {
	c, err := dial(s.addr, "")
	if err != nil {
		return nil, err
	}
	defer c.close()
	token, err := s.line("first admin token")
	if err != nil {
		return nil, err
	}
	admin := person(0)
	admin["token"] = token
	if err = c.call(http.MethodPost, "/api/v1/users/first-admin", "", admin, nil); err != nil {
		return nil, err
	}
	sh := &shop{run: rand.Int64()}
	if sh.admin, err = logIn(c, 0); err != nil {
		return nil, err
	}
	for n := range buyers {
		if err = c.call(http.MethodPost, "/api/v1/users", "", person(n+1), nil); err != nil {
			return nil, err
		}
		b, err := logIn(c, n+1)
		if err != nil {
			return nil, err
		}
		sh.buyers = append(sh.buyers, b)
	}
	c.token = sh.admin.token
	for _, b := range sh.buyers {
		grant := map[string]any{"amount": map[string]any{"minor_units": credit, "currency": "EUR"}}
		if err = c.call(http.MethodPost, "/api/v1/users/"+b.id+"/credit/top-ups", "", grant, nil); err != nil {
			return nil, err
		}
	}
	return sh, nil
}

func person(n int) map[string]any {
	return map[string]any{
		"email": fmt.Sprintf("person%d@example.com", n), "password": "correct horse battery staple", "display_name": fmt.Sprintf("Person %d", n),
	}
}

func logIn(c *client, n int) (b buyer, err error) {
	p := person(n)
	var pair struct {
		Token string `json:"access_token"`
		ID    string `json:"user_id"`
	}
	err = c.call(http.MethodPost, "/api/v1/sessions", "", map[string]any{"email": p["email"], "password": p["password"]}, &pair)
	return buyer{id: pair.ID, token: pair.Token}, err
}

// stock fills the catalogue and the list of old orders. The ids are numbers,
// so that pgbench, which cannot make texts, can name them.
func stock(ctx context.Context, d *sql.DB, dialect string, sh *shop) error {
	id, cast := func(n string) string { return "printf('" + idPrefix + "%012d', " + n + ")" }, ""
	if dialect == "postgres" {
		id, cast = func(n string) string { return "('" + idPrefix + "' || lpad((" + n + ")::text, 12, '0'))::uuid" }, "::uuid"
	}
	owners := make([]string, len(sh.buyers))
	for i, b := range sh.buyers {
		owners[i] = fmt.Sprintf("(%d, '%s'%s)", i, b.id, cast)
	}
	for _, statement := range []string{
		numbers(products) + `INSERT INTO products (id, sku, name, description, search_text, price_minor, currency, stock, active, version, created_at, updated_at)
			SELECT ` + id("n") + `, 'SKU-' || n, 'Product ' || n, 'A thing', 'sku-' || n, 100, 'EUR', 1000000000, TRUE, 1, n, n FROM numbers`,
		numbers(oldOrders) + `, owners (k, id) AS (VALUES ` + strings.Join(owners, ", ") + `)
			INSERT INTO orders (id, number, buyer_id, status, total_minor, currency, reason, tracking_code, version, created_at, updated_at)
			SELECT ` + id("n") + `, 'OLD-' || n, owners.id, 'confirmed', 200, 'EUR', '', '', 2, n, n
			FROM numbers JOIN owners ON k = n % ` + strconv.Itoa(len(owners)),
		numbers(oldOrders) + `INSERT INTO order_lines (order_id, position, product_id, sku, name, quantity, unit_price_minor)
			SELECT ` + id("n") + `, p, ` + id("1 + (n + 500 * p) % 1000") + `, 'SKU-1', 'Product 1', 1, 100
			FROM numbers CROSS JOIN (SELECT 0 AS p UNION ALL SELECT 1) AS positions`,
		"ANALYZE",
	} {
		if _, err := d.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("fill the shop: %w", err)
		}
	}
	return nil
}

const idPrefix = "00000000-0000-0000-0000-"

func numbers(n int) string {
	return fmt.Sprintf("WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < %d) ", n)
}

// place puts one order of two different products through the API.
func (sh *shop) place(c *client, body []byte) ([]byte, error) {
	body, err := sh.order(c, body)
	if err != nil {
		return body, err
	}
	status, answer, err := c.receive()
	if err != nil {
		return body, err
	}
	return body, placed(status, answer)
}

// order sends one order of two different products.
func (sh *shop) order(c *client, body []byte) ([]byte, error) {
	key := fmt.Sprintf("%016x-%015x", uint64(sh.run), sh.keys.Add(1))
	body = append(body[:0], `{"lines":[{"product_id":"`+idPrefix...)
	body = appendNumber(body, 1+rand.IntN(products/2))
	body = append(body, `","quantity":1},{"product_id":"`+idPrefix...)
	body = appendNumber(body, 1+products/2+rand.IntN(products/2))
	body = append(body, `","quantity":1}]}`...)
	return body, c.send(http.MethodPost, "/api/v1/orders", key, body)
}

func placed(status int, answer []byte) error {
	if status != http.StatusCreated {
		return fmt.Errorf("placing an order was answered %d: %s", status, answer)
	}
	return nil
}

// read reads one of the old orders of buyer k through the API.
func (sh *shop) read(c *client, k int) error {
	id, err := sh.request(c, k)
	if err != nil {
		return err
	}
	status, answer, err := c.receive()
	if err != nil {
		return err
	}
	return found(id, status, answer)
}

// request asks for one of the old orders of buyer k and returns its id.
func (sh *shop) request(c *client, k int) (id []byte, err error) {
	mine := rand.IntN(oldOrders/len(sh.buyers)-1) + 1
	id = appendNumber([]byte(idPrefix), mine*len(sh.buyers)+k)
	return id, c.send(http.MethodGet, "/api/v1/orders/"+string(id), "", nil)
}

func found(id []byte, status int, answer []byte) error {
	if status != http.StatusOK || !bytes.Contains(answer, id) {
		return fmt.Errorf("reading the order %s was answered %d: %s", id, status, answer)
	}
	return nil
}

func appendNumber(b []byte, n int) []byte {
	const digits = 12
	s := strconv.Itoa(n)
	for range digits - len(s) {
		b = append(b, '0')
	}
	return append(b, s...)
}

// clients are n connections, each of another buyer.
func (sh *shop) clients(s *server, n int) ([]*client, error) { return sh.connect(s, n, dial) }

// polled are clients for converse.
func (sh *shop) polled(s *server, n int) ([]*client, error) { return sh.connect(s, n, dialSocket) }

func (sh *shop) connect(s *server, n int, dial func(addr, token string) (*client, error)) (all []*client, err error) {
	for i := range n {
		c, err := dial(s.addr, sh.buyers[i%len(sh.buyers)].token)
		if err != nil {
			closeAll(all)
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

func closeAll(clients []*client) {
	for _, c := range clients {
		c.close()
	}
}
