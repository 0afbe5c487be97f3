package notification

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	notificationrest "cleave/modules/notification/v1/rest"
	orderv1 "cleave/modules/order/v1"
)

func TestAuthorisation(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		guest := w.caller(t, "guest")
		nobody := &caller{url: guest.url, http: guest.http}
		for _, op := range [][2]string{
			{"GET", "/notifications"},
			{"GET", "/notifications/unread-count"},
			{"GET", "/notifications/stream"},
			{"POST", "/notifications/read-all"},
			{"POST", "/notifications/" + uuid.NewString() + "/read"},
			{"GET", "/notification-preferences"},
			{"PUT", "/notification-preferences"},
		} {
			refused(t, nobody.do(t, op[0], op[1], nil), 401, "token_missing")
			refused(t, guest.do(t, op[0], op[1], nil), 403, "permission_denied")
		}
		require.Zero(t, w.caller(t, "admin").unread(t), "an administrator has an inbox too")
	})
}

func TestList(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		user, other := w.registered(t), w.registered(t)
		require.Empty(t, user.list(t, "").Items)
		w.confirmMany(t, user, 45)
		w.confirmMany(t, other, 1)
		t.Run("Pages", func(t *testing.T) {
			all := user.list(t, "?limit=100")
			require.Len(t, all.Items, 45)
			require.Nil(t, all.NextCursor)
			var got []notificationrest.Notification
			query := "?limit=20"
			for pages := 1; ; pages++ {
				page := user.list(t, query)
				got = append(got, page.Items...)
				if page.NextCursor == nil {
					require.Equal(t, 3, pages)
					break
				}
				w.confirm(t, user) // does not move the pages
				query = "?limit=20&cursor=" + *page.NextCursor
			}
			require.Equal(t, all.Items, got)
			require.Len(t, user.list(t, "").Items, 20)
		})
		t.Run("Unread", func(t *testing.T) {
			user.inbox(t, 47)
			read := user.list(t, "?limit=1").Items[0]
			user.do(t, "POST", "/notifications/"+read.ID.String()+"/read", nil)
			require.Len(t, user.list(t, "?limit=100&unread=true").Items, 46)
			items := user.list(t, "?unread=false").Items
			require.Len(t, items, 1)
			require.Equal(t, read.ID, items[0].ID)
		})
		t.Run("Refused", func(t *testing.T) {
			cursor := *user.list(t, "?limit=1").NextCursor
			for _, query := range []string{
				"?limit=1&cursor=" + cursor + "A", "?limit=1&cursor=AAAA", "?limit=1&unread=true&cursor=" + cursor,
			} {
				refused(t, user.do(t, "GET", "/notifications"+query, nil), 400, "cursor_invalid")
			}
			refused(t, other.do(t, "GET", "/notifications?cursor="+cursor, nil), 400, "cursor_invalid")
			for _, query := range []string{"?limit=0", "?limit=101", "?limit=x", "?unread=maybe", "?cursor=", "?cursor=%00", "?colour=red"} {
				require.Equal(t, 400, user.do(t, "GET", "/notifications"+query, nil).status, query)
			}
		})
	})
}

func TestMarkRead(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		user, other := w.registered(t), w.registered(t)
		w.confirmMany(t, user, 3)
		mark := func(c *caller, id string, headers ...string) answer {
			return c.do(t, "POST", "/notifications/"+id+"/read", nil, headers...)
		}
		first := user.inbox(t, 3)[0]
		t.Run("One", func(t *testing.T) {
			read := into[notificationrest.Notification](t, mark(user, first.ID.String()), 200)
			require.NotNil(t, read.ReadAt)
			require.EqualValues(t, 2, user.unread(t))
			again := into[notificationrest.Notification](t, mark(user, first.ID.String()), 200)
			require.Equal(t, read, again, "read stays read, since the first time")
			require.Equal(t, read, user.inbox(t, 3)[0])
		})
		t.Run("Refused", func(t *testing.T) {
			unread := user.inbox(t, 3)[1].ID.String()
			refused(t, mark(other, unread), 404, "notification_not_found")
			refused(t, mark(user, uuid.NewString()), 404, "notification_not_found")
			require.Equal(t, 400, mark(user, "7").status)
			require.EqualValues(t, 2, user.unread(t))
		})
		t.Run("All", func(t *testing.T) {
			w.confirmMany(t, other, 2)
			all := func(headers ...string) int64 {
				return into[notificationrest.MarkedRead](t, user.do(t, "POST", "/notifications/read-all", nil, headers...), 200).Marked
			}
			require.EqualValues(t, 2, all("Idempotency-Key", "once"))
			require.EqualValues(t, 2, all("Idempotency-Key", "once"), "the first answer again")
			require.EqualValues(t, 0, all())
			require.EqualValues(t, 0, user.unread(t))
			require.EqualValues(t, 2, other.unread(t))
			into[notificationrest.Notification](t, mark(user, first.ID.String(), "Idempotency-Key", "twice"), 200)
			second := user.inbox(t, 3)[1].ID.String()
			refused(t, mark(user, second, "Idempotency-Key", "twice"), 422, "idempotency_key_reused")
		})
	})
}

func TestPreferences(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		const path = "/notification-preferences"
		type preference = notificationrest.NotificationPreference
		read := func(t *testing.T, a answer) notificationrest.NotificationPreferences {
			t.Helper()
			p := into[notificationrest.NotificationPreferences](t, a, 200)
			require.Equal(t, fmt.Sprintf("%q", fmt.Sprint(p.Version)), a.header.Get("ETag"))
			require.Len(t, p.Preferences, 12)
			return p
		}
		mute := func(kind notificationrest.NotificationKind, channel notificationrest.NotificationChannel) preference {
			return preference{Kind: kind, Channel: channel, Enabled: false}
		}
		set := func(list ...preference) notificationrest.SetNotificationPreferences {
			if list == nil {
				list = []preference{}
			}
			return notificationrest.SetNotificationPreferences{Preferences: list}
		}
		muted := func(p notificationrest.NotificationPreferences) (list []preference) {
			for _, wish := range p.Preferences {
				if !wish.Enabled {
					list = append(list, wish)
				}
			}
			return list
		}
		noMail := mute(notificationrest.NotificationKindConfirmed, notificationrest.NotificationChannelEmail)
		noInbox := mute(notificationrest.NotificationKindShipped, notificationrest.NotificationChannelInApp)

		t.Run("ReplaceAndRead", func(t *testing.T) {
			for _, user := range []*caller{w.customer(t), w.registered(t)} { // of the first, nothing is known
				p := read(t, user.do(t, "GET", path, nil))
				require.Zero(t, p.Version)
				require.Empty(t, muted(p))
				p = read(t, user.do(t, "PUT", path, set(noMail, noInbox), "If-Match", `"0"`))
				require.EqualValues(t, 1, p.Version)
				require.ElementsMatch(t, []preference{noMail, noInbox}, muted(p))
				require.Equal(t, p, read(t, user.do(t, "GET", path, nil)))
				p = read(t, user.do(t, "PUT", path, set(noInbox), "If-Match", `"1"`))
				require.Equal(t, []preference{noInbox}, muted(p))
				p = read(t, user.do(t, "PUT", path, set(), "If-Match", `"2"`))
				require.Empty(t, muted(p))
			}
		})
		t.Run("Honoured", func(t *testing.T) {
			user := w.registered(t)
			read(t, user.do(t, "PUT", path, set(noMail, noInbox), "If-Match", `"0"`))
			confirmed, shipped := uuid.NewString(), uuid.NewString()
			w.orders.publish(t, confirmed, &orderv1.OrderConfirmed{OrderId: confirmed, Number: "1", BuyerId: user.id})
			w.orders.publish(t, shipped, &orderv1.OrderShipped{OrderId: shipped, Number: "2", BuyerId: user.id})
			require.Equal(t, "Order 2 is on its way", w.mailed(t, user, 1)[0].Subject)
			require.Equal(t, "Order 1 is confirmed", user.inbox(t, 1)[0].Title)
			require.Equal(t, []string{"sent"}, w.settled(t, user, 1))
			w.mailed(t, user, 1)
			user.inbox(t, 1)
		})
		t.Run("Refused", func(t *testing.T) {
			user := w.registered(t)
			refused(t, user.do(t, "PUT", path, set(noMail)), 428, "if_match_missing")
			refused(t, user.do(t, "PUT", path, set(noMail), "If-Match", `"1"`), 412, "version_stale")
			for _, tag := range []string{"0", "*", `W/"0"`, `"0", "1"`, `"-1"`, `"01"`} {
				require.Equal(t, 400, user.do(t, "PUT", path, set(noMail), "If-Match", tag).status, tag)
			}
			refused(t, user.do(t, "PUT", path, set(noMail, noMail), "If-Match", `"0"`), 422, "preference_repeated")
			for body, status := range map[string]int{
				`{`:                    400,
				`{}`:                   400,
				`{"preferences":null}`: 400,
				`{"preferences":[{"kind":"lost","channel":"email","enabled":true}]}`:                422,
				`{"preferences":[{"kind":"shipped","channel":"pigeon","enabled":true}]}`:            422,
				`{"preferences":[{"kind":"shipped","channel":"email","enabled":"no"}]}`:             400,
				`{"preferences":[{"kind":"shipped","channel":"email"}]}`:                            400,
				`{"preferences":[{"kind":"shipped","channel":"email","enabled":true,"Enabled":1}]}`: 400,
				`{"preferences":[],"version":7}`:                                                    400,
			} {
				require.Equal(t, status, user.do(t, "PUT", path, body, "If-Match", `"0"`).status, body)
			}
			require.Zero(t, read(t, user.do(t, "GET", path, nil)).Version, "nothing was written")
		})
		t.Run("Concurrent", func(t *testing.T) {
			user := w.customer(t)
			var won atomic.Int32
			var all sync.WaitGroup
			for range 32 {
				all.Go(func() {
					switch a := user.do(t, "PUT", path, set(noMail), "If-Match", `"0"`); a.status {
					case 200:
						won.Add(1)
					case 412:
					default:
						t.Errorf("%d %s", a.status, a.body)
					}
				})
			}
			all.Wait()
			require.EqualValues(t, 1, won.Load())
			require.EqualValues(t, 1, read(t, user.do(t, "GET", path, nil)).Version)
		})
	})
}
