package chaos_test

import (
	"database/sql"
	"encoding/hex"
	"fmt"
	"strconv"

	"google.golang.org/protobuf/proto"

	userv1 "cleave/modules/user/v1"
)

// subscription says what must have come of an event: how often each key was
// marked as handled by the subscriber, and how often the handler's effect is
// in its tables.
type subscription struct {
	module, subscriber string
	what               string // of the event, for people
	want               map[string]int
	effects            string // a query of key and count
}

// effects returns which events have had no effect, as long as there is none,
// and finds effects that were had twice or of nothing. What must have been
// published follows from what the publishers' tables say.
func (s *shop) effects() (missing []string, err error) {
	all, err := s.subscriptions()
	if err != nil {
		return nil, err
	}
	for _, sub := range all {
		err := s.tables(sub.module, func(d *sql.DB) error {
			marks, err := counts(d, "SELECT key, COUNT(*) FROM inbox WHERE state = 'done' AND subscriber = '"+sub.subscriber+"' GROUP BY key")
			if err != nil {
				return err
			}
			missing = append(missing, s.compare(sub, "marks", marks)...)
			if sub.effects == "" {
				return nil
			}
			effects, err := counts(d, sub.effects)
			if err != nil {
				return err
			}
			missing = append(missing, s.compare(sub, "effects", effects)...)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	late, err := s.order()
	return append(missing, late...), err
}

func (s *shop) compare(sub subscription, what string, got map[string]int) (missing []string) {
	for key, n := range sub.want {
		text := fmt.Sprintf("%s %s happened %d times; %s has %d %s of it", sub.what, key, n, sub.subscriber, got[key], what)
		if got[key] > n {
			s.findings.add("%s", text)
		} else if got[key] < n {
			missing = append(missing, text)
		}
	}
	for key, n := range got {
		if sub.want[key] == 0 {
			s.findings.add("%s %s did not happen; %s has %d %s of it", sub.what, key, sub.subscriber, n, what)
		}
	}
	return missing
}

func (s *shop) subscriptions() ([]subscription, error) {
	const news = "SELECT %s, COUNT(*) FROM notifications WHERE kind = '%s' GROUP BY %s"
	disabled := map[string]int{}
	for user, n := range s.staff.disabled {
		disabled[user.String()] = n
	}
	all := []subscription{
		{module: "notification", subscriber: "notification.tell_disabled", what: "disabling user", want: disabled, effects: fmt.Sprintf(news, "user_id", "disabled", "user_id")},
		{module: "order", subscriber: "order.cancel_orders", what: "disabling user", want: disabled},
	}
	for _, e := range []struct{ subscriber, what, module, happened, effects string }{
		{"welcome", "registering user", "user", "SELECT id, 1 FROM users", fmt.Sprintf(news, "user_id", "registered", "user_id")},
		{"tell_confirmed", "confirming order", "order", "SELECT id, 1 FROM sagas WHERE name = 'place_order' AND state = 'completed'", fmt.Sprintf(news, "order_id", "confirmed", "order_id")},
		{"tell_rejected", "rejecting order", "order", "SELECT id, 1 FROM orders WHERE status = 'rejected'", fmt.Sprintf(news, "order_id", "rejected", "order_id")},
		{"tell_cancelled", "cancelling order", "order", "SELECT id, 1 FROM orders WHERE status = 'cancelled'", fmt.Sprintf(news, "order_id", "cancelled", "order_id")},
		{"tell_shipped", "shipping order", "order", "SELECT id, 1 FROM orders WHERE status IN ('shipped', 'delivered')", fmt.Sprintf(news, "order_id", "shipped", "order_id")},
	} {
		sub := subscription{module: "notification", subscriber: "notification." + e.subscriber, what: e.what, effects: e.effects}
		err := s.tables(e.module, func(d *sql.DB) (err error) {
			sub.want, err = counts(d, e.happened)
			return err
		})
		if err != nil {
			return nil, err
		}
		all = append(all, sub)
	}
	return all, nil
}

func counts(d *sql.DB, query string) (map[string]int, error) {
	all, err := rows(d, query)
	if err != nil {
		return nil, err
	}
	n := make(map[string]int, len(all))
	for _, row := range all {
		if n[row[0]], err = strconv.Atoi(row[1]); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// order returns which profile changes are still missing, and finds events that
// were handled in another order than that in which their publisher had them.
// Profile changes are the events of which many have one key, and each says
// which one it is.
func (s *shop) order() (missing []string, err error) {
	payload := "encode(r.payload, 'hex')"
	if s.db.DSN == "" {
		payload = "hex(r.payload)"
	}
	handled, err := s.read("notification", "SELECT key, "+payload+`, i.seq, done_at FROM inbox i JOIN chaos_received r ON r.seq = i.seq
		WHERE subscriber = 'notification.keep_contact' AND state = 'done' ORDER BY done_at, i.seq`)
	if err != nil {
		return nil, err
	}
	last := map[string]int64{}
	names := map[string][]string{}
	for _, row := range handled {
		b, err := hex.DecodeString(row[1])
		if err != nil {
			return nil, err
		}
		var e userv1.UserProfileChanged
		if err := proto.Unmarshal(b, &e); err != nil {
			return nil, err
		}
		if e.GetVersion() <= last[row[0]] {
			s.findings.add("profile change %d of user %s was handled after %d (row %s, at %s)", e.GetVersion(), row[0], last[row[0]], row[2], row[3])
		}
		last[row[0]] = e.GetVersion()
		names[row[0]] = append(names[row[0]], e.GetDisplayName())
	}
	for _, c := range s.customers {
		for _, name := range c.names {
			text := fmt.Sprintf("the name %q of %s was acknowledged once; notification has had it %%d times", name, c.email)
			switch n := count(names[c.id.String()], name); {
			case n == 0:
				missing = append(missing, fmt.Sprintf(text, n))
			case n > 1:
				s.findings.add(text, n)
			}
		}
	}
	known, err := s.read("notification", "SELECT user_id, contact_version, display_name FROM recipients")
	if err != nil {
		return nil, err
	}
	for _, row := range known {
		version, err := strconv.ParseInt(row[1], 10, 64)
		if err != nil {
			return nil, err
		}
		if v := last[row[0]]; version < v {
			s.findings.add("user %s has had profile change %d, and notification knows %d (%s)", row[0], v, version, row[2])
		}
	}
	return missing, nil
}

func count(all []string, one string) (n int) {
	for _, s := range all {
		if s == one {
			n++
		}
	}
	return n
}
