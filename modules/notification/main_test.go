package notification

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"cleave/modules/notification/internal/smtptest"
	notificationrest "cleave/modules/notification/v1/rest"
	orderv1 "cleave/modules/order/v1"
	userv1 "cleave/modules/user/v1"
	"cleave/platform/config"
	"cleave/platform/event"
	"cleave/platform/module"
	"cleave/platform/moduletest"
)

// TestMain also proves that stopped hosts and ended streams leave no goroutine
// behind. The Postgres server that the tests share ends with the process.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("cleave/platform/db/dbtest.(*Server).run.func1"))
}

const (
	patience = time.Minute
	tick     = 5 * time.Millisecond
)

// world is the module in a running process, between modules that publish what
// a test tells them to, and an SMTP server.
type world struct {
	host   *module.Host
	data   string // the data folder
	smtp   *smtptest.Server
	issuer *moduletest.Issuer
	users  *publisher
	orders *publisher
}

// publisher stands in for a module that publishes.
type publisher struct{ env *module.Env }

func (p *publisher) wire(env *module.Env) { p.env = env }

// publish publishes each event under the key in a transaction of its own.
func (p *publisher) publish(t testing.TB, key string, events ...proto.Message) {
	t.Helper()
	for _, e := range events {
		require.NoError(t, p.env.DB.Tx(context.Background(), func(ctx context.Context) error { return p.env.Events.Publish(ctx, key, e) }))
	}
}

// each runs fn with a world of its own on each database.
func each(t *testing.T, fn func(t *testing.T, w *world)) {
	t.Helper()
	eachWith(t, func(*config.Config, *settings) {}, fn)
}

func eachWith(t *testing.T, change func(*config.Config, *settings), fn func(t *testing.T, w *world)) {
	t.Helper()
	t.Parallel()
	moduletest.Each(t, []module.Spec{Module}, func(t *testing.T, cfg *config.Config) {
		t.Parallel()
		w := &world{
			smtp: smtptest.Start(t, smtptest.Options{}), users: &publisher{}, orders: &publisher{},
		}
		s := cfg.Modules["notification"].(*settings)
		s.SMTP.Addr, s.SMTP.TLS, s.SMTP.From = w.smtp.Addr, "none", "Shop <no-reply@shop.example>"
		s.Mail.RetryMin, s.Mail.RetryMax = 10*time.Millisecond, 10*time.Millisecond
		change(cfg, s)
		w.issuer = moduletest.NewIssuer(t, cfg, "user", "order", "notification")
		w.host = moduletest.Start(t, cfg, w.userSpec(), w.orderSpec(), Module)
		w.data = cfg.Data.Dir
		fn(t, w)
	})
}

func (w *world) userSpec() module.Spec {
	return module.Spec{
		Name: "user", Publishes: []event.Type{userv1.Registered, userv1.ProfileChanged, userv1.Disabled},
		Wire: func(env *module.Env) (module.Parts, error) {
			w.users.wire(env)
			return module.Parts{Keys: w.issuer}, nil
		},
	}
}

func (w *world) orderSpec() module.Spec {
	return module.Spec{
		Name: "order", Publishes: []event.Type{orderv1.Confirmed, orderv1.Rejected, orderv1.Cancelled, orderv1.Shipped},
		Wire: func(env *module.Env) (module.Parts, error) { w.orders.wire(env); return module.Parts{}, nil },
	}
}

// caller makes requests as one user.
type caller struct {
	id    string
	url   string
	token string
	http  *http.Client
}

func (w *world) caller(t testing.TB, roles ...string) *caller {
	t.Helper()
	id := uuid.NewString()
	c := &caller{id: id, url: w.host.URL() + "/api/v1", token: w.issuer.Token(t, id, roles...), http: &http.Client{Transport: &http.Transport{}}}
	t.Cleanup(c.http.CloseIdleConnections)
	return c
}

// customer is a user who is about to be registered.
func (w *world) customer(t testing.TB) *caller { return w.caller(t, "customer") }

// registered is a user with an inbox that is empty and no mail.
func (w *world) registered(t testing.TB) *caller {
	t.Helper()
	c := w.customer(t)
	w.users.publish(t, c.id, &userv1.UserProfileChanged{UserId: c.id, Email: c.email(), DisplayName: "Ada Lovelace", Version: 2})
	return c
}

func (c *caller) email() string { return c.id + "@example.org" }

// confirm publishes that an order of the user was confirmed, and returns its id.
func (w *world) confirm(t testing.TB, c *caller) string {
	t.Helper()
	order := uuid.NewString()
	w.orders.publish(t, order, &orderv1.OrderConfirmed{OrderId: order, Number: "7K3M-9QXD", BuyerId: c.id})
	return order
}

// confirmMany publishes n orders and waits until all are in the inbox.
func (w *world) confirmMany(t testing.TB, c *caller, n int) {
	t.Helper()
	for range n {
		w.confirm(t, c)
	}
	require.Eventually(t, func() bool { return c.unread(t) == int64(n) }, patience, tick)
}

// answer is a response; an error has problem set.
type answer struct {
	status  int
	header  http.Header
	body    []byte
	problem notificationrest.Problem
}

// do sends body as JSON, or as it is when it is a string; headers are pairs.
func (c *caller) do(t testing.TB, method, path string, body any, headers ...string) (a answer) {
	t.Helper()
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		reader = strings.NewReader(b)
	default:
		data, err := json.Marshal(b)
		require.NoError(t, err)
		reader = bytes.NewReader(data)
	}
	resp := c.send(t, context.Background(), method, path, reader, headers...)
	defer func() { _ = resp.Body.Close() }()
	a.status, a.header = resp.StatusCode, resp.Header
	var err error
	a.body, err = io.ReadAll(resp.Body)
	require.NoError(t, err)
	if a.status >= 400 {
		require.NoError(t, json.Unmarshal(a.body, &a.problem), "%s", a.body)
	}
	return a
}

func (c *caller) send(t testing.TB, ctx context.Context, method, path string, body io.Reader, headers ...string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, c.url+path, body)
	require.NoError(t, err)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := c.http.Do(r)
	require.NoError(t, err)
	return resp
}

// into checks the status and decodes the body.
func into[T any](t testing.TB, a answer, status int) (v T) {
	t.Helper()
	require.Equal(t, status, a.status, "%s", a.body)
	require.NoError(t, json.Unmarshal(a.body, &v))
	return v
}

// refused checks the status and the code of an error.
func refused(t testing.TB, a answer, status int, code string) {
	t.Helper()
	require.Equal(t, status, a.status, "%s", a.body)
	require.Equal(t, code, a.problem.Code, "%s", a.body)
	require.Equal(t, "application/problem+json", a.header.Get("Content-Type"))
}

func (c *caller) list(t testing.TB, query string) notificationrest.NotificationList {
	t.Helper()
	return into[notificationrest.NotificationList](t, c.do(t, "GET", "/notifications"+query, nil), 200)
}

func (c *caller) unread(t testing.TB) int64 {
	t.Helper()
	return into[notificationrest.UnreadCount](t, c.do(t, "GET", "/notifications/unread-count", nil), 200).Unread
}

// inbox waits until the user has n notifications, and returns them, the oldest first.
func (c *caller) inbox(t testing.TB, n int) []notificationrest.Notification {
	t.Helper()
	var items []notificationrest.Notification
	require.Eventually(t, func() bool {
		items = c.list(t, "?limit=100").Items
		return len(items) >= n
	}, patience, tick, "the inbox does not fill")
	require.Len(t, items, n)
	for i, j := 0, len(items)-1; i < j; i, j = i+1, j-1 {
		items[i], items[j] = items[j], items[i]
	}
	return items
}

// mails are the user's mails that the SMTP server has got.
func (w *world) mails(t testing.TB, c *caller) []smtptest.Message {
	t.Helper()
	var out []smtptest.Message
	for _, r := range w.smtp.Received() {
		if r.To[0] == c.email() {
			out = append(out, smtptest.Read(t, r.Data))
		}
	}
	return out
}

// mailed waits until the user has got n mails.
func (w *world) mailed(t testing.TB, c *caller, n int) (got []smtptest.Message) {
	t.Helper()
	require.Eventually(t, func() bool {
		got = w.mails(t, c)
		return len(got) >= n
	}, patience, tick, "the mail does not come")
	require.Len(t, got, n)
	return got
}

// settled waits until no mail of the user is queued, and returns their states.
func (w *world) settled(t testing.TB, c *caller, n int) (states []string) {
	t.Helper()
	require.Eventually(t, func() bool {
		states = nil
		err := w.host.DB("notification").Conn(context.Background()).
			Raw("SELECT state FROM mails WHERE user_id = ? AND state <> 'queued' ORDER BY created_at, id", c.id).Scan(&states).Error
		return err == nil && len(states) == n
	}, patience, tick)
	return states
}

// stream is an open event stream.
type stream struct {
	lines *bufio.Scanner
	close func()
}

// sent is an event of a stream.
type sent struct {
	id           string
	notification notificationrest.Notification
}

// follow opens a stream; it is open when follow returns.
func (c *caller) follow(t testing.TB, lastID string) *stream {
	t.Helper()
	var headers []string
	if lastID != "" {
		headers = []string{"Last-Event-ID", lastID}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	resp := c.send(t, ctx, "GET", "/notifications/stream", nil, headers...)
	s := &stream{lines: bufio.NewScanner(resp.Body), close: func() { cancel(); _ = resp.Body.Close() }}
	t.Cleanup(s.close)
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, "text/event-stream", resp.Header.Get("Content-Type"))
	return s
}

// next reads the next event; false when the stream has ended.
func (s *stream) next(t testing.TB) (e sent, ok bool) {
	t.Helper()
	name := ""
	for s.lines.Scan() {
		field, value, _ := strings.Cut(s.lines.Text(), ": ")
		switch field {
		case "id":
			e.id = value
		case "event":
			name = value
		case "data":
			require.NoError(t, json.Unmarshal([]byte(value), &e.notification))
		case "":
			if name == "notification" {
				require.Equal(t, e.id, e.notification.ID.String())
				return e, true
			}
		}
	}
	require.NoError(t, s.lines.Err(), "the stream has not ended in order")
	return e, false
}

// take reads n events.
func (s *stream) take(t testing.TB, n int) (all []sent) {
	t.Helper()
	for range n {
		e, ok := s.next(t)
		require.True(t, ok, "the stream has ended after %d events", len(all))
		all = append(all, e)
	}
	return all
}
