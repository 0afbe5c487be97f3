package notification

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cleave/modules/notification/internal/smtptest"
	notificationrest "cleave/modules/notification/v1/rest"
	orderv1 "cleave/modules/order/v1"
	userv1 "cleave/modules/user/v1"
	"cleave/platform/config"
	"cleave/platform/faulttest"
	"cleave/platform/module"
	"cleave/platform/moduletest"
)

// TestFaults tells users once of each event, while commits and deliveries are
// late, fail, happen unsaid and happen twice.
func TestFaults(t *testing.T) {
	t.Parallel()
	moduletest.EachFaulty(t, []module.Spec{Module}, func(t *testing.T, cfg *config.Config, plan *faulttest.Plan) {
		const users, orders, names = 3, 15, 8
		cfg.Events.BackoffMin, cfg.Events.BackoffMax, cfg.Events.MaxAttempts = time.Millisecond, 20*time.Millisecond, 1000
		w := &world{
			smtp: smtptest.Start(t, smtptest.Options{}), issuer: moduletest.NewIssuer(t, cfg, "user", "order", "notification"),
			users: &publisher{}, orders: &publisher{},
		}
		s := cfg.Modules["notification"].(*settings)
		s.SMTP.Addr, s.SMTP.TLS, s.SMTP.From = w.smtp.Addr, "none", "Shop <no-reply@shop.example>"
		w.host = moduletest.StartFaulty(t, cfg, plan, w.userSpec(), w.orderSpec(), Module)
		w.data = cfg.Data.Dir

		// What publishes is not under test: each event is published once.
		told := map[*caller]map[string]bool{}
		for range users {
			c := w.customer(t)
			told[c] = map[string]bool{"registered": true}
			w.users.publish(t, c.id, &userv1.UserRegistered{UserId: c.id, Email: c.email(), DisplayName: "Ada"})
		}
		plan.Start()
		for i := range orders {
			for c := range told {
				order := uuid.NewString()
				w.quietly(t, plan, func() {
					w.orders.publish(t, order, &orderv1.OrderConfirmed{OrderId: order, Number: fmt.Sprint(i), BuyerId: c.id})
					if i%2 == 0 {
						w.orders.publish(t, order, &orderv1.OrderShipped{OrderId: order, Number: fmt.Sprint(i), BuyerId: c.id})
						told[c]["shipped "+order] = true
					}
					if i < names {
						w.users.publish(t, c.id, &userv1.UserProfileChanged{UserId: c.id, Email: c.email(), DisplayName: fmt.Sprint("Ada ", i), Version: int64(i + 1)})
					}
				})
				told[c]["confirmed "+order] = true
			}
		}
		require.Eventually(t, func() bool { return w.pending(t) == 0 }, patience, tick, "events wait")
		plan.Stop()
		for c, want := range told {
			got := map[string]bool{}
			for _, n := range c.inbox(t, len(want)) {
				got[about(n)] = true
			}
			require.Equal(t, want, got)
			require.Equal(t, fmt.Sprint("Ada ", names-1), w.nameOf(t, c.id), "the last name is kept")
		}
	})
}

// quietly runs fn while nothing goes wrong.
func (w *world) quietly(t *testing.T, plan *faulttest.Plan, fn func()) {
	t.Helper()
	plan.Stop()
	defer plan.Start()
	fn()
}

func about(n notificationrest.Notification) string {
	if n.OrderID == nil {
		return string(n.Kind)
	}
	return fmt.Sprint(n.Kind, " ", n.OrderID)
}

// pending is how many events are not handled.
func (w *world) pending(t *testing.T) (n int64) {
	t.Helper()
	for _, look := range [][2]string{ // in the direction in which events go
		{"user", "SELECT count(*) FROM outbox"},
		{"order", "SELECT count(*) FROM outbox"},
		{"notification", "SELECT count(*) FROM inbox WHERE state = 'pending'"},
	} {
		var some int64
		require.NoError(t, w.host.DB(look[0]).Conn(context.Background()).Raw(look[1]).Scan(&some).Error)
		n += some
	}
	return n
}

func (w *world) nameOf(t *testing.T, user string) (name string) {
	t.Helper()
	require.NoError(t, w.host.DB("notification").Conn(context.Background()).Raw("SELECT display_name FROM recipients WHERE user_id = ?", user).Scan(&name).Error)
	return name
}
