package journey_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	noterest "cleave/modules/notification/v1/rest"
	orderrest "cleave/modules/order/v1/rest"
	userrest "cleave/modules/user/v1/rest"
)

// TestOrder takes orders to each of their ends.
func TestOrder(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		for _, part := range []struct {
			name string
			run  func(*testing.T, *world)
		}{
			{"Delivered", delivered},
			{"RejectedForLackOfCredit", rejectedForLackOfCredit},
			{"RejectedForAnotherCurrency", rejectedForAnotherCurrency},
			{"Cancelled", cancelled},
			{"CancelledWhilePending", cancelledWhilePending},
			{"CancelledWithItsBuyer", cancelledWithItsBuyer},
			{"NoOtherWay", noOtherWay},
			{"LastPieces", lastPieces},
		} {
			t.Run(part.name, func(t *testing.T) {
				part.run(t, w)
				w.balanced(t)
			})
		}
	})
}

// delivered is the whole story of one order, followed live and by mail.
func delivered(t *testing.T, w *world) {
	buyer := w.customer(t, 10000)
	lamp, pen := w.newProduct(t, 1299, 10), w.newProduct(t, 350, 5)
	buyer.told(t, noterest.NotificationKindRegistered, nil)
	stream := buyer.follow(t, nil)

	o := buyer.place(t, 2, lamp, pen)
	require.Equal(t, orderrest.Money{MinorUnits: 2*1299 + 2*350, Currency: "EUR"}, o.Total)
	require.Equal(t, buyer.id, o.BuyerID)
	require.Equal(t, int64(8), w.admin.product(t, lamp.ID).Stock)
	confirmed := buyer.reaches(t, o.ID, orderrest.OrderStatusConfirmed)
	require.Equal(t, o.Lines, confirmed.Lines)
	require.Greater(t, confirmed.Version, o.Version)
	require.Equal(t, account{granted: 10000, available: 10000 - 3298, reserved: 3298}, accountOf(buyer.credit(t, buyer.id)))

	first := stream.next(t)
	require.Equal(t, noterest.NotificationKindConfirmed, first.Kind)
	require.Equal(t, o.ID, *first.OrderID)
	require.Contains(t, first.Title, o.Number)
	require.Equal(t, first, buyer.told(t, noterest.NotificationKindConfirmed, &o.ID))
	stream.close()

	// What happens while nobody listens comes first when the stream is resumed.
	w.admin.ship(t, o.ID)
	buyer.told(t, noterest.NotificationKindShipped, &o.ID)
	stream = buyer.follow(t, &first.ID)
	second := stream.next(t)
	require.Equal(t, noterest.NotificationKindShipped, second.Kind)
	another := buyer.place(t, 1, pen)
	require.Equal(t, another.ID, *stream.next(t).OrderID, "the resumed stream does not go on live")
	stream.close()

	require.Equal(t, ptr("JD014600003948"), buyer.order(t, o.ID).TrackingCode)
	require.Equal(t, orderrest.OrderStatusDelivered, w.admin.deliver(t, o.ID).Status)
	require.True(t, happens(func() bool { return buyer.credit(t, buyer.id).Captured == 3298 }), "the credit is not captured")
	require.Equal(t, int64(8), w.admin.product(t, lamp.ID).Stock)

	mail := w.mail(t, buyer, noterest.NotificationKindConfirmed, o)
	require.Contains(t, mail.subject, o.Number)
	require.Contains(t, mail.text, "Ada Lovelace")
	require.Contains(t, mail.html, o.Number)
	w.mail(t, buyer, noterest.NotificationKindShipped, o)

	unread, err := buyer.notes.CountUnreadNotificationsWithResponse(t.Context())
	require.NoError(t, err)
	require.Equal(t, int64(4), value(t, unread.JSON200, unread).Unread)
	read, err := buyer.notes.MarkNotificationReadWithResponse(t.Context(), first.ID, nil)
	require.NoError(t, err)
	require.NotNil(t, value(t, read.JSON200, read).ReadAt)
	all, err := buyer.notes.MarkAllNotificationsReadWithResponse(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, int64(3), value(t, all.JSON200, all).Marked)
}

func rejectedForLackOfCredit(t *testing.T, w *world) {
	buyer := w.customer(t, 1000)
	lamp := w.newProduct(t, 1299, 10)
	o := buyer.place(t, 3, lamp)
	o = buyer.reaches(t, o.ID, orderrest.OrderStatusRejected)
	require.Equal(t, ptr("insufficient_credit"), o.Reason)
	require.Equal(t, int64(10), w.admin.product(t, lamp.ID).Stock)
	require.Equal(t, account{granted: 1000, available: 1000}, accountOf(buyer.credit(t, buyer.id)))
	require.Len(t, w.ledger(t, buyer.id), 1, "a rejected order moves no money")
	buyer.told(t, noterest.NotificationKindRejected, &o.ID)
	w.mail(t, buyer, noterest.NotificationKindRejected, o)

	w.admin.topUp(t, buyer.id, 3*1299-1000)
	buyer.reaches(t, buyer.place(t, 3, lamp).ID, orderrest.OrderStatusConfirmed)
	require.Zero(t, buyer.credit(t, buyer.id).Available)
}

func rejectedForAnotherCurrency(t *testing.T, w *world) {
	buyer := w.customer(t, 100000)
	lamp := w.newProductIn(t, orderrest.Money{MinorUnits: 100, Currency: "USD"}, 10)
	o := buyer.reaches(t, buyer.place(t, 1, lamp).ID, orderrest.OrderStatusRejected)
	require.Equal(t, ptr("currency_mismatch"), o.Reason)
	require.Equal(t, int64(10), w.admin.product(t, lamp.ID).Stock)
}

func cancelled(t *testing.T, w *world) {
	buyer := w.customer(t, 5000)
	lamp := w.newProduct(t, 1299, 10)
	o := buyer.reaches(t, buyer.place(t, 3, lamp).ID, orderrest.OrderStatusConfirmed)
	require.Equal(t, int64(7), w.admin.product(t, lamp.ID).Stock)
	o = buyer.cancel(t, o.ID, "ordered by mistake")
	require.Equal(t, orderrest.OrderStatusCancelled, o.Status)
	require.Equal(t, ptr("ordered by mistake"), o.Reason)
	require.Equal(t, int64(10), w.admin.product(t, lamp.ID).Stock)
	require.True(t, happens(func() bool { return buyer.credit(t, buyer.id).Available == 5000 }), "the credit is not released")
	var kinds []userrest.LedgerEntryKind
	for _, e := range w.ledger(t, buyer.id) {
		kinds = append(kinds, e.Kind)
	}
	require.Equal(t, []userrest.LedgerEntryKind{userrest.LedgerEntryKindRelease, userrest.LedgerEntryKindReserve, userrest.LedgerEntryKindGrant}, kinds)
	buyer.told(t, noterest.NotificationKindCancelled, &o.ID)
	w.mail(t, buyer, noterest.NotificationKindCancelled, o)
}

// cancelledWhilePending cancels orders as fast as a client can: the saga that
// reserves their credit is under way, has ended, or has yet to begin.
func cancelledWhilePending(t *testing.T, w *world) {
	buyer := w.customer(t, 50000)
	lamp := w.newProduct(t, 1299, 3)
	for range 10 {
		o := buyer.place(t, 3, lamp)
		require.Equal(t, orderrest.OrderStatusCancelled, buyer.cancel(t, o.ID, "too slow").Status)
	}
	w.balanced(t)
	require.Equal(t, account{granted: 50000, available: 50000}, accountOf(buyer.credit(t, buyer.id)))
	require.Equal(t, int64(3), w.admin.product(t, lamp.ID).Stock)
}

func cancelledWithItsBuyer(t *testing.T, w *world) {
	buyer := w.customer(t, 5000)
	lamp := w.newProduct(t, 1299, 3)
	o := buyer.reaches(t, buyer.place(t, 2, lamp).ID, orderrest.OrderStatusConfirmed)
	r, err := w.admin.users.DisableUserWithResponse(t.Context(), buyer.id, nil)
	require.NoError(t, err)
	require.True(t, value(t, r.JSON200, r).Disabled)
	o = w.admin.reaches(t, o.ID, orderrest.OrderStatusCancelled)
	require.Equal(t, ptr("user_disabled"), o.Reason)
	require.Equal(t, int64(3), w.admin.product(t, lamp.ID).Stock)
	w.balanced(t)
	require.Equal(t, account{granted: 5000, available: 5000}, accountOf(w.admin.credit(t, buyer.id)))
	w.mail(t, buyer, noterest.NotificationKindDisabled, o)
	refused(t, newCaller(t, w.server.url).send(t, "POST", "/api/v1/sessions", fmt.Sprintf(`{"email":%q,"password":%q}`, buyer.email, password)), 403, "user_disabled")
}

// noOtherWay tries every step that the state of an order does not allow.
func noOtherWay(t *testing.T, w *world) {
	buyer := w.customer(t, 10000)
	lamp := w.newProduct(t, 1000, 10)
	confirmed := func() orderrest.Order {
		return buyer.reaches(t, buyer.place(t, 1, lamp).ID, orderrest.OrderStatusConfirmed)
	}
	states := map[orderrest.OrderStatus]orderrest.Order{
		orderrest.OrderStatusConfirmed: confirmed(),
		orderrest.OrderStatusCancelled: buyer.cancel(t, confirmed().ID, "no"),
		orderrest.OrderStatusShipped:   w.admin.ship(t, confirmed().ID),
		orderrest.OrderStatusDelivered: w.admin.deliver(t, w.admin.ship(t, confirmed().ID).ID),
		orderrest.OrderStatusRejected:  buyer.reaches(t, buyer.place(t, 7-1, lamp, w.newProduct(t, 1e6, 10)).ID, orderrest.OrderStatusRejected),
	}
	w.balanced(t)
	allowed := map[orderrest.OrderStatus][]string{
		orderrest.OrderStatusConfirmed: {"cancel", "ship"}, orderrest.OrderStatusShipped: {"deliver"},
	}
	before := w.state(t)
	for status, o := range states {
		for _, step := range []string{"cancel", "ship", "deliver"} {
			if !slices.Contains(allowed[status], step) {
				refused(t, w.admin.send(t, "POST", fmt.Sprintf("/api/v1/orders/%s/%s", o.ID, step), ""), 409, "order_transition")
			}
		}
	}
	require.Equal(t, before, w.state(t))
}

// eml is where a server without SMTP leaves its mails.
func (w *world) eml(t testing.TB, kind noterest.NotificationKind) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(w.site.dir, "mail", "*-"+string(kind)+"-*.eml"))
	require.NoError(t, err)
	return files
}

// mail waits for the one mail of that kind to the user that names the order;
// one about the user's account names none.
func (w *world) mail(t testing.TB, to *caller, kind noterest.NotificationKind, o orderrest.Order) (found letter) {
	t.Helper()
	require.True(t, happens(func() bool {
		n := 0
		for _, file := range w.eml(t, kind) {
			content, err := os.ReadFile(file)
			require.NoError(t, err)
			if l := parseLetter(t, content); l.to == to.email && (kind == noterest.NotificationKindDisabled || l.names(o.Number)) {
				found = l
				n++
			}
		}
		require.LessOrEqual(t, n, 1)
		return n == 1
	}), "no mail %s to %s", kind, to.email)
	return found
}
