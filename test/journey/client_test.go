package journey_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	noterest "cleave/modules/notification/v1/rest"
	orderrest "cleave/modules/order/v1/rest"
	userrest "cleave/modules/user/v1/rest"
)

const password = "correct horse battery staple"

// caller is a user who is logged in, or a stranger without a token.
type caller struct {
	id    uuid.UUID
	email string
	token string
	url   string
	http  *http.Client

	users  *userrest.ClientWithResponses
	orders *orderrest.ClientWithResponses
	notes  *noterest.ClientWithResponses
}

// newCaller is a stranger at the server.
func newCaller(t testing.TB, url string) *caller {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	c := &caller{http: &http.Client{Transport: transport, Timeout: patience}}
	c.moveTo(t, url)
	return c
}

// moveTo makes the caller talk to another process.
func (c *caller) moveTo(t testing.TB, url string) {
	t.Helper()
	var err error
	c.url = url
	c.users, err = userrest.NewClientWithResponses(url, userrest.WithHTTPClient(c.http), userrest.WithRequestEditorFn(c.authorise))
	require.NoError(t, err)
	c.orders, err = orderrest.NewClientWithResponses(url, orderrest.WithHTTPClient(c.http), orderrest.WithRequestEditorFn(c.authorise))
	require.NoError(t, err)
	c.notes, err = noterest.NewClientWithResponses(url, noterest.WithHTTPClient(c.http), noterest.WithRequestEditorFn(c.authorise))
	require.NoError(t, err)
}

func (c *caller) authorise(_ context.Context, r *http.Request) error {
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	return nil
}

// response is what the generated responses have in common.
type response interface {
	StatusCode() int
	GetBody() []byte
	ContentType() string
}

// value is the body that the server must have answered with.
func value[T any](t require.TestingT, v *T, r response) T {
	if v == nil {
		require.FailNow(t, "refused", "%d %s", r.StatusCode(), r.GetBody())
	}
	return *v
}

func ptr[T any](v T) *T { return &v }

func newKey() *string { return ptr(uuid.NewString()) }

func (c *caller) logIn(t testing.TB, email string) {
	t.Helper()
	c.logInWith(t, email, password)
}

func (c *caller) logInWith(t testing.TB, email, password string) {
	t.Helper()
	r, err := c.users.LogInWithResponse(t.Context(), nil, userrest.LogIn{Email: email, Password: password})
	require.NoError(t, err)
	tokens := value(t, r.JSON201, r)
	c.id, c.email, c.token = tokens.UserID, email, tokens.AccessToken
}

func (c *caller) credit(t testing.TB, user uuid.UUID) userrest.Credit {
	t.Helper()
	r, err := c.users.GetCreditWithResponse(t.Context(), user)
	require.NoError(t, err)
	return value(t, r.JSON200, r)
}

func (c *caller) topUp(t testing.TB, user uuid.UUID, cents int64) userrest.LedgerEntry {
	t.Helper()
	r, err := c.users.TopUpCreditWithResponse(t.Context(), user, &userrest.TopUpCreditParams{IdempotencyKey: newKey()},
		userrest.TopUpCredit{Amount: userrest.Money{MinorUnits: cents, Currency: "EUR"}, Note: ptr("opening credit")})
	require.NoError(t, err)
	return value(t, r.JSON201, r)
}

func (c *caller) product(t testing.TB, id uuid.UUID) orderrest.Product {
	t.Helper()
	r, err := c.orders.GetProductWithResponse(t.Context(), id)
	require.NoError(t, err)
	return value(t, r.JSON200, r)
}

// wanted is an order for n pieces of each product.
func wanted(n int64, products ...orderrest.Product) orderrest.PlaceOrder {
	var o orderrest.PlaceOrder
	for _, p := range products {
		o.Lines = append(o.Lines, orderrest.PlaceOrderLine{ProductID: p.ID, Quantity: n})
	}
	return o
}

// place orders n pieces of each product, which is taken down as pending.
func (c *caller) place(t testing.TB, n int64, products ...orderrest.Product) orderrest.Order {
	t.Helper()
	r, err := c.orders.PlaceOrderWithResponse(t.Context(), &orderrest.PlaceOrderParams{IdempotencyKey: newKey()}, wanted(n, products...))
	require.NoError(t, err)
	o := value(t, r.JSON201, r)
	require.Equal(t, orderrest.OrderStatusPending, o.Status)
	return o
}

func (c *caller) order(t testing.TB, id uuid.UUID) orderrest.Order {
	t.Helper()
	r, err := c.orders.GetOrderWithResponse(t.Context(), id)
	require.NoError(t, err)
	return value(t, r.JSON200, r)
}

// reaches waits until the order has the status.
func (c *caller) reaches(t testing.TB, id uuid.UUID, status orderrest.OrderStatus) (o orderrest.Order) {
	t.Helper()
	require.True(t, happens(func() bool {
		o = c.order(t, id)
		return o.Status == status
	}), "the order does not become %s", status)
	return o
}

func (c *caller) cancel(t testing.TB, id uuid.UUID, reason string) orderrest.Order {
	t.Helper()
	r, err := c.orders.CancelOrderWithResponse(t.Context(), id, nil, orderrest.CancelOrder{Reason: &reason})
	require.NoError(t, err)
	return value(t, r.JSON200, r)
}

func (c *caller) ship(t testing.TB, id uuid.UUID) orderrest.Order {
	t.Helper()
	r, err := c.orders.ShipOrderWithResponse(t.Context(), id, nil, orderrest.ShipOrder{TrackingCode: ptr("JD014600003948")})
	require.NoError(t, err)
	return value(t, r.JSON200, r)
}

func (c *caller) deliver(t testing.TB, id uuid.UUID) orderrest.Order {
	t.Helper()
	r, err := c.orders.DeliverOrderWithResponse(t.Context(), id, nil)
	require.NoError(t, err)
	return value(t, r.JSON200, r)
}

// pages reads a list to its end.
func pages[T any](t require.TestingT, page func(cursor *string) ([]T, *string)) (all []T) {
	for cursor := (*string)(nil); ; {
		items, next := page(cursor)
		all = append(all, items...)
		if next == nil {
			return all
		}
		require.NotEmpty(t, items, "a page before the last one is empty")
		cursor = next
	}
}

// inbox is all of the caller's notifications, the newest first.
func (c *caller) inbox(t testing.TB) []noterest.Notification {
	t.Helper()
	return pages(t, func(cursor *string) ([]noterest.Notification, *string) {
		r, err := c.notes.ListNotificationsWithResponse(t.Context(), &noterest.ListNotificationsParams{Limit: ptr[int32](100), Cursor: cursor})
		require.NoError(t, err)
		page := value(t, r.JSON200, r)
		return page.Items, page.NextCursor
	})
}

// told waits until the caller was told once of that kind about that order.
func (c *caller) told(t testing.TB, kind noterest.NotificationKind, order *uuid.UUID) (n noterest.Notification) {
	t.Helper()
	require.True(t, happens(func() bool {
		var found []noterest.Notification
		for _, n := range c.inbox(t) {
			if n.Kind == kind && (order == nil || n.OrderID != nil && *n.OrderID == *order) {
				found = append(found, n)
			}
		}
		if len(found) == 0 {
			return false
		}
		require.Len(t, found, 1)
		n = found[0]
		return true
	}), "no notification %s", kind)
	return n
}

// reply is a response to a request that no generated client would send.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// send makes a request with exactly this body; headers are pairs.
func (c *caller) send(t testing.TB, method, path, body string, headers ...string) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, c.url+path, strings.NewReader(body))
	require.NoError(t, err)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	require.NoError(t, c.authorise(t.Context(), req))
	for i := 0; i < len(headers); i += 2 {
		switch name, text := headers[i], headers[i+1]; {
		case name == "Transfer-Encoding":
			req.ContentLength = -1 // unknown, so the body goes in chunks
		case text == "":
			req.Header.Del(name)
		default:
			req.Header.Set(name, text)
		}
	}
	resp, err := c.http.Do(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return reply{resp.StatusCode, resp.Header, b}
}

// refused requires a problem (RFC 9457) with exactly this status and code,
// which names the fields, each as "field code".
func refused(t testing.TB, r reply, status int, code string, fields ...string) {
	t.Helper()
	require.Equal(t, status, r.status, "%s", r.body)
	require.Equal(t, "application/problem+json", r.header.Get("Content-Type"))
	var p userrest.Problem
	require.NoError(t, json.Unmarshal(r.body, &p), "%s", r.body)
	require.Equal(t, code, p.Code, "%s", r.body)
	require.Equal(t, "/problems/"+code, p.Type)
	require.Equal(t, int32(status), p.Status)
	require.NotEmpty(t, p.Title)
	require.NotNil(t, p.RequestID)
	require.Equal(t, r.header.Get("X-Request-Id"), *p.RequestID)
	var named []string
	if p.Errors != nil {
		for _, f := range *p.Errors {
			named = append(named, fmt.Sprint(f.Field, " ", f.Code))
		}
	}
	if fields != nil {
		require.Equal(t, fields, named, "%s", r.body)
	}
}

func decode(t testing.TB, text []byte, into any) {
	t.Helper()
	require.NoError(t, json.Unmarshal(text, into), "%s", text)
}
