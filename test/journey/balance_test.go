package journey_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	noterest "cleave/modules/notification/v1/rest"
	orderrest "cleave/modules/order/v1/rest"
	userrest "cleave/modules/user/v1/rest"
)

// everyone is all users, as the administrator sees them.
func (w *world) everyone(t testing.TB) []userrest.User {
	t.Helper()
	return pages(t, func(cursor *string) ([]userrest.User, *string) {
		r, err := w.admin.users.ListUsersWithResponse(t.Context(), &userrest.ListUsersParams{Limit: ptr[int32](100), Cursor: cursor})
		require.NoError(t, err)
		page := value(t, r.JSON200, r)
		return page.Items, page.NextCursor
	})
}

func (w *world) products(t testing.TB) []orderrest.Product {
	t.Helper()
	return pages(t, func(cursor *string) ([]orderrest.Product, *string) {
		r, err := w.admin.orders.ListProductsWithResponse(t.Context(), &orderrest.ListProductsParams{Limit: ptr[int32](100), Cursor: cursor})
		require.NoError(t, err)
		page := value(t, r.JSON200, r)
		return page.Items, page.NextCursor
	})
}

func (w *world) orders(t testing.TB) []orderrest.Order {
	t.Helper()
	return pages(t, func(cursor *string) ([]orderrest.Order, *string) {
		r, err := w.admin.orders.ListOrdersWithResponse(t.Context(), &orderrest.ListOrdersParams{Limit: ptr[int32](100), Cursor: cursor})
		require.NoError(t, err)
		page := value(t, r.JSON200, r)
		return page.Items, page.NextCursor
	})
}

func (w *world) ledger(t testing.TB, user uuid.UUID) []userrest.LedgerEntry {
	t.Helper()
	return pages(t, func(cursor *string) ([]userrest.LedgerEntry, *string) {
		r, err := w.admin.users.ListCreditEntriesWithResponse(t.Context(), user, &userrest.ListCreditEntriesParams{Limit: ptr[int32](100), Cursor: cursor})
		require.NoError(t, err)
		page := value(t, r.JSON200, r)
		return page.Items, page.NextCursor
	})
}

// account is the part of a credit account that money moves between.
type account struct{ granted, available, reserved, captured int64 }

func accountOf(c userrest.Credit) account {
	return account{c.Granted, c.Available, c.Reserved, c.Captured}
}

// summed is the account that a ledger adds up to. A reservation must be opened
// once and closed at most once, by the same amount. Which of two entries of the
// same moment comes first does not matter.
func summed(t testing.TB, entries []userrest.LedgerEntry) (a account) {
	t.Helper()
	opened, closed := map[string]int64{}, map[string]int64{}
	move := func(into map[string]int64, e userrest.LedgerEntry) int64 {
		require.NotNil(t, e.ReservationKey)
		require.NotContains(t, into, *e.ReservationKey, "a second %s: %v", e.Kind, entries)
		into[*e.ReservationKey] = e.Amount.MinorUnits
		return e.Amount.MinorUnits
	}
	for _, e := range entries {
		require.Positive(t, e.Amount.MinorUnits)
		switch e.Kind {
		case userrest.LedgerEntryKindGrant:
			a.granted += e.Amount.MinorUnits
		case userrest.LedgerEntryKindReserve:
			a.reserved += move(opened, e)
		case userrest.LedgerEntryKindCapture:
			n := move(closed, e)
			a.reserved -= n
			a.captured += n
		case userrest.LedgerEntryKindRelease:
			a.reserved -= move(closed, e)
		}
	}
	for key, n := range closed {
		require.Equal(t, opened[key], n, "a reservation is closed that was not opened so: %s", key)
	}
	a.available = a.granted - a.reserved - a.captured
	return a
}

// balanced waits until all that orders set off has come to rest, and requires
// that money and stock are conserved: every account is what its ledger and the
// orders add up to, every product is where the orders say, and every customer
// was told once of every step.
func (w *world) balanced(t testing.TB) {
	t.Helper()
	var differences []string
	if !happens(func() bool {
		differences = w.differences(t)
		return len(differences) == 0
	}) {
		require.FailNow(t, "not as the orders say", strings.Join(differences, "\n"))
	}
}

// differences compares accounts and stock with the orders, which follow each
// other with a delay. What must hold at every moment, it requires.
func (w *world) differences(t testing.TB) (found []string) {
	t.Helper()
	reserved, captured, gone := map[uuid.UUID]int64{}, map[uuid.UUID]int64{}, map[uuid.UUID]int64{}
	orders := w.orders(t)
	for _, o := range orders {
		switch o.Status {
		case orderrest.OrderStatusPending:
			found = append(found, "order "+o.Number+" is pending")
		case orderrest.OrderStatusConfirmed:
			reserved[o.BuyerID] += o.Total.MinorUnits
		case orderrest.OrderStatusShipped, orderrest.OrderStatusDelivered:
			captured[o.BuyerID] += o.Total.MinorUnits
		default:
			continue
		}
		for _, l := range o.Lines {
			gone[l.ProductID] += l.Quantity
		}
	}
	users := w.everyone(t)
	for _, c := range w.enabled(users) {
		found = append(found, untold(t, c, orders)...)
	}
	for _, u := range users {
		before, ledger, after := w.admin.credit(t, u.ID), w.ledger(t, u.ID), w.admin.credit(t, u.ID)
		a := accountOf(after)
		require.Equal(t, a.granted, a.available+a.reserved+a.captured, "the account of %s", u.Email)
		if before.Version != after.Version {
			found = append(found, "the account of "+u.Email+" is moving")
			continue
		}
		require.Equal(t, summed(t, ledger), a, "the account of %s is not the sum of its ledger", u.Email)
		if a.reserved != reserved[u.ID] || a.captured != captured[u.ID] {
			found = append(found, fmt.Sprintf("%s has %d reserved and %d captured for orders of %d and %d", u.Email, a.reserved, a.captured, reserved[u.ID], captured[u.ID]))
		}
	}
	for _, p := range w.products(t) {
		require.GreaterOrEqual(t, p.Stock, int64(0))
		if first, known := w.stock[p.ID]; known && p.Stock+gone[p.ID] != first {
			found = append(found, fmt.Sprintf("%s: %d in stock and %d in orders make not %d", p.SKU, p.Stock, gone[p.ID], first))
		}
	}
	return found
}

// untold compares a customer's orders with the notifications, of which there
// must never be two for one step.
func untold(t testing.TB, c *caller, orders []orderrest.Order) (found []string) {
	t.Helper()
	told := map[string]int{}
	for _, n := range c.inbox(t) {
		about := string(n.Kind)
		if n.OrderID != nil {
			about += " " + n.OrderID.String()
		}
		told[about]++
		require.Equal(t, 1, told[about], "%s was told twice: %s", c.email, about)
	}
	expect := func(about string) {
		if told[about] == 0 {
			found = append(found, c.email+" was not told: "+about)
		}
		delete(told, about)
	}
	expect(string(noterest.NotificationKindRegistered))
	for _, o := range orders {
		if o.BuyerID != c.id {
			continue
		}
		switch id := " " + o.ID.String(); o.Status {
		case orderrest.OrderStatusShipped, orderrest.OrderStatusDelivered:
			expect(string(noterest.NotificationKindShipped) + id)
			expect(string(noterest.NotificationKindConfirmed) + id)
		case orderrest.OrderStatusCancelled:
			expect(string(noterest.NotificationKindCancelled) + id)
			delete(told, string(noterest.NotificationKindConfirmed)+id) // if it came so far
		case orderrest.OrderStatusConfirmed, orderrest.OrderStatusRejected:
			expect(string(o.Status) + id)
		}
	}
	for about := range told { // of an order that has just gone on, or of none
		found = append(found, c.email+" was told what did not happen: "+about)
	}
	return found
}

// enabled is those of the callers who may still use the API.
func (w *world) enabled(users []userrest.User) (callers []*caller) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, u := range users {
		for _, c := range w.callers {
			if c.id == u.ID && !u.Disabled {
				callers = append(callers, c)
			}
		}
	}
	return callers
}

// state is all that the API shows, as text that changes with any write.
func (w *world) state(t testing.TB) string {
	t.Helper()
	type of struct {
		User   userrest.User
		Credit userrest.Credit
	}
	var accounts []of
	users := w.everyone(t)
	for _, u := range users {
		accounts = append(accounts, of{u, w.admin.credit(t, u.ID)})
	}
	inboxes := map[string]int{}
	for _, c := range w.enabled(users) {
		inboxes[c.email] = len(c.inbox(t))
	}
	text, err := json.MarshalIndent([]any{accounts, w.products(t), w.orders(t), inboxes}, "", " ")
	require.NoError(t, err)
	return string(text)
}
