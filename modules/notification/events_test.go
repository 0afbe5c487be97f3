package notification

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	notificationrest "cleave/modules/notification/v1/rest"
	orderv1 "cleave/modules/order/v1"
	userv1 "cleave/modules/user/v1"
)

func TestKinds(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		order := uuid.NewString()
		for _, c := range []struct {
			kind  notificationrest.NotificationKind
			event func(user string) proto.Message
			title string
			texts []string // in the body and in both parts of the mail
			about bool
		}{
			{notificationrest.NotificationKindRegistered, func(u string) proto.Message {
				return &userv1.UserRegistered{UserId: u, Email: u + "@example.org", DisplayName: "Ada Lovelace"}
			}, "Welcome", []string{"you can log in"}, false},
			{notificationrest.NotificationKindDisabled, func(u string) proto.Message {
				return &userv1.UserDisabled{UserId: u}
			}, "Your account has been disabled", []string{"you can no longer log in"}, false},
			{notificationrest.NotificationKindConfirmed, func(u string) proto.Message {
				return &orderv1.OrderConfirmed{OrderId: order, Number: "7K3M-9QXD", BuyerId: u}
			}, "Order 7K3M-9QXD is confirmed", []string{"7K3M-9QXD", "will ship it soon"}, true},
			{notificationrest.NotificationKindRejected, func(u string) proto.Message {
				return &orderv1.OrderRejected{OrderId: order, Number: "7K3M-9QXD", BuyerId: u, Reason: "insufficient_credit"}
			}, "Order 7K3M-9QXD was rejected", []string{"7K3M-9QXD", "Your credit does not cover it."}, true},
			{notificationrest.NotificationKindCancelled, func(u string) proto.Message {
				return &orderv1.OrderCancelled{OrderId: order, Number: "7K3M-9QXD", BuyerId: u, Reason: "Ordered by mistake"}
			}, "Order 7K3M-9QXD was cancelled", []string{"7K3M-9QXD", "Reason: Ordered by mistake"}, true},
			{notificationrest.NotificationKindShipped, func(u string) proto.Message {
				return &orderv1.OrderShipped{OrderId: order, Number: "7K3M-9QXD", BuyerId: u, TrackingCode: "JD0146"}
			}, "Order 7K3M-9QXD is on its way", []string{"7K3M-9QXD", "JD0146"}, true},
		} {
			t.Run(string(c.kind), func(t *testing.T) {
				user, from := w.customer(t), w.orders
				if !c.about {
					from = w.users
				}
				if c.kind != notificationrest.NotificationKindRegistered {
					user = w.registered(t)
				}
				from.publish(t, user.id, c.event(user.id))
				n := user.inbox(t, 1)[0]
				require.Equal(t, c.kind, n.Kind)
				require.Equal(t, c.title, n.Title)
				require.Nil(t, n.ReadAt)
				if c.about {
					require.Equal(t, order, n.OrderID.String())
				} else {
					require.Nil(t, n.OrderID)
				}
				m := w.mailed(t, user, 1)[0]
				require.Equal(t, c.title, m.Subject)
				require.Equal(t, "Ada Lovelace", m.To[0].Name)
				for _, text := range c.texts {
					require.Contains(t, n.Body, text)
					require.Contains(t, m.Text, text)
					require.Contains(t, strings.NewReplacer("<strong>", "", "</strong>", "").Replace(m.HTML), text)
				}
			})
		}
	})
}

// repeat puts the newest event of a type into the outbox again, under its id.
func (p *publisher) repeat(t testing.TB, e proto.Message, id string) {
	t.Helper()
	payload, err := proto.Marshal(e)
	require.NoError(t, err)
	require.NoError(t, p.env.DB.Tx(context.Background(), func(ctx context.Context) error {
		return p.env.DB.Conn(ctx).Exec("INSERT INTO outbox (id, type, key, at, payload) VALUES (?, ?, ?, ?, ?)",
			id, string(e.ProtoReflect().Descriptor().FullName()), "key", 1, payload).Error
	}))
}

func TestDeliveredTwice(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		user := w.registered(t)
		e := &orderv1.OrderConfirmed{OrderId: uuid.NewString(), Number: "1", BuyerId: user.id}
		id := uuid.NewString()
		for range 5 {
			w.orders.repeat(t, e, id)
		}
		user.inbox(t, 1)
		w.orders.repeat(t, e, id)
		w.orders.repeat(t, e, uuid.NewString()) // the proof that the repeats have been through
		user.inbox(t, 2)
		require.Equal(t, []string{"sent", "sent"}, w.settled(t, user, 2))
		w.mailed(t, user, 2)
	})
}

func TestBadEvents(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		user := w.registered(t)
		good := uuid.NewString()
		for _, e := range []*orderv1.OrderConfirmed{
			{OrderId: good, Number: "1"},
			{OrderId: good, Number: "1", BuyerId: "nobody"},
			{OrderId: "none", Number: "1", BuyerId: user.id},
			{OrderId: good, Number: "1", BuyerId: strings.ToUpper(user.id)},
		} {
			w.orders.publish(t, "key", e)
		}
		w.users.publish(t, "key", &userv1.UserDisabled{UserId: "x"}, &userv1.UserProfileChanged{UserId: "x"}, &userv1.UserRegistered{UserId: "x"})
		d := w.host.DB("notification")
		require.Eventually(t, func() bool {
			var dead []string
			err := d.Conn(context.Background()).Raw("SELECT cause FROM inbox WHERE state = 'dead'").Scan(&dead).Error
			for _, cause := range dead {
				require.Contains(t, cause, "invalid/event_invalid")
			}
			return err == nil && len(dead) == 7
		}, patience, tick, "a bad event is dead at once")
		w.confirm(t, user)
		user.inbox(t, 1)
	})
}

func TestHostileNames(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		user := w.customer(t)
		evil := "<script>alert(1)</script>\r\nBcc: eve@evil.test\r\n\r\nx"
		w.users.publish(t, user.id, &userv1.UserRegistered{UserId: user.id, Email: user.email(), DisplayName: evil})
		order := uuid.NewString()
		w.orders.publish(t, order, &orderv1.OrderCancelled{OrderId: order, Number: evil, BuyerId: user.id, Reason: evil})
		user.inbox(t, 2) // every answer is checked against its description
		for _, m := range w.mailed(t, user, 2) {
			require.Empty(t, m.Header["Bcc"])
			require.NotContains(t, m.Subject, "\n")
			require.NotContains(t, m.HTML, "<script>")
			require.Contains(t, m.HTML, "&lt;script&gt;")
		}
	})
}

func TestOrderBeforeUser(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		user := w.customer(t)
		w.confirm(t, user)
		require.Equal(t, "Order 7K3M-9QXD is confirmed", user.inbox(t, 1)[0].Title)
		require.Empty(t, w.mails(t, user))
		w.users.publish(t, user.id, &userv1.UserRegistered{UserId: user.id, Email: user.email(), DisplayName: "Ada"})
		user.inbox(t, 2)
		w.mailed(t, user, 2)
	})
}

// Events of different types are handled at the same time, in transactions that
// each write to the inboxes of several users.
func TestManyAtOnce(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		const orders = 20
		var users []*caller
		for range 4 {
			users = append(users, w.registered(t))
		}
		var streams []*stream
		for _, user := range users {
			streams = append(streams, user.follow(t, ""))
		}
		var all sync.WaitGroup
		for _, user := range users {
			all.Go(func() {
				for i := range orders {
					order := uuid.NewString()
					w.orders.publish(t, order, &orderv1.OrderConfirmed{OrderId: order, Number: "1", BuyerId: user.id},
						&orderv1.OrderShipped{OrderId: order, Number: "1", BuyerId: user.id})
					other := users[i%len(users)]
					w.orders.publish(t, order, &orderv1.OrderCancelled{OrderId: order, Number: "1", BuyerId: other.id})
				}
			})
		}
		all.Wait()
		for i, user := range users {
			want := user.inbox(t, 3*orders)
			for j, e := range streams[i].take(t, 3*orders) {
				require.Equal(t, want[j], e.notification, "the stream has everything once, in the order of the list")
			}
		}
		if d := w.host.DB("notification"); d.Dialect() == "postgres" {
			var deadlocks int64
			require.NoError(t, d.Conn(t.Context()).Raw("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()").Scan(&deadlocks).Error)
			require.Zero(t, deadlocks)
		}
	})
}
