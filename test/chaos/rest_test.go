package chaos_test

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	orderrest "cleave/modules/order/v1/rest"
)

// unrest finds what is still on its way, in the order in which things follow
// from each other, so that nothing passes behind the reader's back.
var unrest = []struct{ module, query string }{
	{"user", "SELECT 'an event waits in the outbox of user', type, key, id FROM outbox"},
	{"order", "SELECT 'an event is not handled', subscriber, type, key, id, state, attempts, cause FROM inbox WHERE state = 'pending'"},
	{"order", "SELECT 'a saga runs', name, id, state, step, attempts, due_at, owner, cause FROM sagas WHERE state IN ('running', 'compensating')"},
	{"order", "SELECT 'an order is pending', number, id FROM orders WHERE status = 'pending'"},
	{"order", "SELECT 'an event waits in the outbox of order', type, key, id FROM outbox"},
	{"notification", "SELECT 'an event is not handled', subscriber, type, key, id, state, attempts, cause FROM inbox WHERE state = 'pending'"},
	// One that a killed process had claimed is sent again, after its lease of two minutes.
	{"notification", "SELECT 'a mail is not sent', id, kind, number, cause FROM mails WHERE state = 'queued' AND attempts = 0"},
}

// settled waits until nothing is on its way any more, and then checks what has
// become of everything.
func (s *shop) settled(t *testing.T) {
	t.Helper()
	var left []string
	began := time.Now()
	for time.Since(began) < patience && !s.over() {
		var err error
		if left, err = s.left(); err == nil && len(left) == 0 {
			// What is at a broker is in no table.
			if left, err = s.effects(); err == nil && (len(left) == 0 || !s.brokered) {
				break
			}
		}
		if err != nil {
			left = []string{err.Error()}
		}
		s.last = left[0]
		time.Sleep(20 * time.Millisecond)
	}
	if s.over() {
		return
	}
	for _, what := range left {
		s.findings.add("no end after %v: %s", time.Since(began).Round(time.Second), what)
	}
	s.rested = time.Since(began)
	err := s.conserved()
	if err == nil {
		err = s.failed()
	}
	if err == nil {
		err = s.balances()
	}
	if err == nil {
		err = s.mails()
	}
	if err != nil {
		s.findings.add("the tables cannot be read at rest: %v", err)
	}
	for _, c := range s.customers {
		s.acknowledged(c)
	}
}

func (s *shop) left() (all []string, err error) {
	for _, look := range unrest {
		found, err := s.read(look.module, look.query)
		if err != nil {
			return nil, err
		}
		for _, row := range found {
			all = append(all, fmt.Sprint(row))
		}
	}
	return all, nil
}

// failed finds what has ended as nothing here should.
func (s *shop) failed() error {
	for module, query := range map[string]string{
		"order": `SELECT 'saga', name, id, state, cause FROM sagas WHERE state = 'compensation_failed'
			UNION ALL SELECT 'event', subscriber, id, state, cause FROM inbox WHERE state = 'dead'`,
		"notification": `SELECT 'event', subscriber, id, state, cause FROM inbox WHERE state = 'dead'
			UNION ALL SELECT 'mail', kind, CAST(id AS text), state, cause FROM mails WHERE state = 'failed'`,
	} {
		found, err := s.read(module, query)
		if err != nil {
			return err
		}
		for _, row := range found {
			s.findings.add("it has failed for good: %v", row)
		}
	}
	return nil
}

// acknowledged compares a customer's orders with what they were told of them.
func (s *shop) acknowledged(c *customer) {
	var all []orderrest.Order
	for cursor := (*string)(nil); ; {
		a := ask(c.client, "list the orders", func(ctx context.Context, a api) (*orderrest.ListOrdersResponse, error) {
			return a.orders.ListOrdersWithResponse(ctx, &orderrest.ListOrdersParams{Limit: ptr[int32](100), Cursor: cursor})
		})
		page, err := decode[orderrest.OrderList](a.body)
		if a.status != http.StatusOK || err != nil {
			s.findings.add("the orders of %s cannot be listed: %d %s", c.email, a.status, a.body)
			return
		}
		all = append(all, page.Items...)
		if cursor = page.NextCursor; cursor == nil {
			break
		}
	}
	byLamps := map[int64][]orderrest.Order{}
	for _, o := range all {
		byLamps[o.Lines[0].Quantity] = append(byLamps[o.Lines[0].Quantity], o)
	}
	for _, i := range c.intents {
		found := byLamps[i.lamps]
		delete(byLamps, i.lamps)
		switch {
		case len(found) > 1:
			s.findings.add("%s exists %d times: %s and %s", i, len(found), found[0].ID, found[1].ID)
		case i.id != uuid.Nil && len(found) == 0:
			s.findings.add("%s was acknowledged as %s and is gone", i, i.id)
		case i.id == uuid.Nil && i.refused != "" && len(found) == 1:
			s.findings.add("%s was refused (%s) and exists: %s", i, i.refused, found[0].ID)
		case len(found) == 0:
		case i.id != uuid.Nil && found[0].ID != i.id:
			s.findings.add("%s was acknowledged as %s and is %s", i, i.id, found[0].ID)
		case i.cancelled && found[0].Status != orderrest.OrderStatusCancelled:
			s.findings.add("%s, %s, was cancelled and is %s", i, i.id, found[0].Status)
		}
		if i.id != uuid.Nil && s.staff.shipped[i.id] > 0 && len(found) == 1 && found[0].Status != "shipped" && found[0].Status != "delivered" {
			s.findings.add("%s, %s, was shipped and is %s", i, i.id, found[0].Status)
		}
	}
	for lamps, found := range byLamps {
		s.findings.add("%s has an order of %d lamps, %s, that nobody placed", c.email, lamps, found[0].ID)
	}
}

// balances compares accounts with orders, which follow each other with a delay,
// and credit and stock with what the staff gave.
func (s *shop) balances() error {
	held := map[string][2]string{}
	orders, err := s.read("order", `SELECT buyer_id,
			SUM(CASE status WHEN 'confirmed' THEN total_minor ELSE 0 END), SUM(CASE WHEN status IN ('shipped', 'delivered') THEN total_minor ELSE 0 END)
		FROM orders GROUP BY buyer_id`)
	if err != nil {
		return err
	}
	for _, row := range orders {
		held[row[0]] = [2]string{row[1], row[2]}
	}
	accounts, err := s.read("user", "SELECT user_id, reserved, captured FROM accounts")
	if err != nil {
		return err
	}
	for _, row := range accounts {
		want, ok := held[row[0]]
		if !ok {
			want = [2]string{"0", "0"}
		}
		if got := [2]string{row[1], row[2]}; got != want {
			s.findings.add("user %s has %s reserved and %s captured for orders of %s and %s", row[0], got[0], got[1], want[0], want[1])
		}
	}
	grants, err := s.read("user", "SELECT user_id, note, amount, COUNT(*) FROM ledger_entries WHERE kind = 'grant' GROUP BY user_id, note, amount")
	if err != nil {
		return err
	}
	given := map[string]string{}
	for _, row := range grants {
		given[row[0]+" "+row[1]+" "+row[2]] = row[3]
	}
	for _, g := range s.staff.topUps {
		if n := given[fmt.Sprint(g.user, " ", g.note, " ", g.cents)]; n != "1" {
			s.findings.add("%s of %d for user %s was acknowledged and is in the ledger %q times", g.note, g.cents, g.user, n)
		}
	}
	chairs, err := s.read("order", "SELECT COUNT(*) FROM idempotency_keys WHERE scope LIKE '% adjustStock'")
	if err != nil {
		return err
	}
	if n := fmt.Sprint(s.staff.added); chairs[0][0] != n {
		s.findings.add("%s chairs were acknowledged, and %s are stored", n, chairs[0][0])
	}
	return nil
}

// mails compares the mails that are marked as sent with those in the folder. A
// mail leaves at least once; here a repeat takes the place of the first.
func (s *shop) mails() error {
	all, err := s.read("notification", "SELECT id, state FROM mails")
	if err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(s.dir, "mail", "*.eml"))
	if err != nil {
		return err
	}
	sent := map[string]int{}
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".eml")
		sent[name[max(0, len(name)-len(uuid.Nil.String())):]]++
	}
	for _, row := range all {
		n := sent[row[0]]
		delete(sent, row[0])
		if n > 1 || n == 0 && row[1] == "sent" {
			s.findings.add("mail %s is %s, and %d times in the folder", row[0], row[1], n)
		}
	}
	for id := range sent {
		s.findings.add("mail %s is in the folder, and nobody wrote it", id)
	}
	return nil
}
