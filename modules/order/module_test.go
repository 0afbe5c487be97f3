package order

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	orderv1 "cleave/modules/order/v1"
	orderrest "cleave/modules/order/v1/rest"
	"cleave/platform/config"
	"cleave/platform/db/dbtest"
	"cleave/platform/event"
	"cleave/platform/module"
	"cleave/platform/moduletest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// world is the module in a running process, between a user module and a
// listener that are not real.
type world struct {
	host   *module.Host
	users  *users
	events *listener
	issuer *moduletest.Issuer
	admin  *caller
}

// each runs fn with a world of its own on each database.
func each(t *testing.T, fn func(t *testing.T, w *world)) {
	t.Helper()
	patient := func(s *settings) { s.PlaceTimeout = time.Hour } // however busy the machine is
	eachWith(t, patient, fn)
}

func eachWith(t *testing.T, change func(*settings), fn func(t *testing.T, w *world)) {
	t.Helper()
	t.Parallel()
	moduletest.Each(t, []module.Spec{Module}, func(t *testing.T, cfg *config.Config) {
		t.Parallel()
		change(cfg.Modules["order"].(*settings))
		cfg.HTTP.RequestTimeout = time.Minute // for 200 requests at once on a busy machine
		w := &world{users: newUsers(), events: &listener{}, issuer: moduletest.NewIssuer(t, cfg, "user", "order")}
		w.host = moduletest.Start(t, cfg, w.users.spec(w.issuer), Module, w.events.spec())
		w.admin = w.caller(t, "admin")
		fn(t, w)
	})
}

// listener stands in for a module that follows all orders.
type listener struct {
	mu    sync.Mutex
	seen  map[string][]proto.Message            // by order, in the order of arrival
	heard map[string]map[string]map[string]bool // by order and event: the ids
}

func (l *listener) spec() module.Spec {
	types := []event.Type{orderv1.Placed, orderv1.Confirmed, orderv1.Rejected, orderv1.Cancelled, orderv1.Shipped, orderv1.Delivered}
	return module.Spec{Name: "listener", Subscribes: types, Wire: func(*module.Env) (module.Parts, error) {
		return module.Parts{Handlers: []event.Handler{
			event.On(orderv1.Placed, "placed", hear[*orderv1.OrderPlaced](l)),
			event.On(orderv1.Confirmed, "confirmed", hear[*orderv1.OrderConfirmed](l)),
			event.On(orderv1.Rejected, "rejected", hear[*orderv1.OrderRejected](l)),
			event.On(orderv1.Cancelled, "cancelled", hear[*orderv1.OrderCancelled](l)),
			event.On(orderv1.Shipped, "shipped", hear[*orderv1.OrderShipped](l)),
			event.On(orderv1.Delivered, "delivered", hear[*orderv1.OrderDelivered](l)),
		}}, nil
	}}
}

func hear[T proto.Message](l *listener) func(context.Context, event.Meta, T) error {
	return func(_ context.Context, m event.Meta, e T) error {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.seen == nil {
			l.seen, l.heard = map[string][]proto.Message{}, map[string]map[string]map[string]bool{}
		}
		l.seen[m.Key] = append(l.seen[m.Key], e)
		if l.heard[m.Key] == nil {
			l.heard[m.Key] = map[string]map[string]bool{}
		}
		kind := string(e.ProtoReflect().Descriptor().Name())
		if l.heard[m.Key][kind] == nil {
			l.heard[m.Key][kind] = map[string]bool{}
		}
		l.heard[m.Key][kind][m.ID] = true
		return nil
	}
}

// ids are the events of an order that were heard, each kind with its ids.
func (l *listener) ids(order uuid.UUID) map[string][]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := map[string][]string{}
	for kind, ids := range l.heard[order.String()] {
		all[kind] = slices.Sorted(maps.Keys(ids))
	}
	return all
}

// of waits until a message like want was heard of the order.
func (l *listener) wait(t *testing.T, order uuid.UUID, want proto.Message) {
	t.Helper()
	eventually(t, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, m := range l.seen[order.String()] {
			if proto.Equal(m, want) {
				return true
			}
		}
		return false
	}, "no event %T %v", want, want)
}

// eventually polls in the test's own goroutine, so that done may fail the test.
func eventually(t testing.TB, done func() bool, message string, args ...any) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			require.Failf(t, "too late", message, args...)
		}
	}
}

// caller makes requests as one user.
type caller struct {
	id    string
	url   string
	token string
}

// caller is a new user with the given roles.
func (w *world) caller(t testing.TB, roles ...string) *caller {
	t.Helper()
	id := uuid.NewString()
	return &caller{id: id, url: w.host.URL() + "/api/v1", token: w.issuer.Token(t, id, roles...)}
}

// customer is a new customer with credit.
func (w *world) customer(t testing.TB, credit int64) *caller {
	t.Helper()
	c := w.caller(t, "customer")
	w.users.grant(c.id, credit)
	return c
}

// answer is a response; an error has problem set.
type answer struct {
	status  int
	header  http.Header
	body    []byte
	problem orderrest.Problem
}

// do sends body as JSON, or as it is when it is a string; headers are pairs.
func (c *caller) do(t testing.TB, method, path string, body any, headers ...string) answer {
	t.Helper()
	a, err := c.try(context.Background(), method, path, body, headers...)
	require.NoError(t, err)
	return a
}

func (c *caller) try(ctx context.Context, method, path string, body any, headers ...string) (a answer, err error) {
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		reader = bytes.NewReader([]byte(b))
	default:
		data, err := json.Marshal(b)
		if err != nil {
			return a, err
		}
		reader = bytes.NewReader(data)
	}
	r, err := http.NewRequestWithContext(ctx, method, c.url+path, reader)
	if err != nil {
		return a, err
	}
	if reader != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return a, err
	}
	defer func() { _ = resp.Body.Close() }()
	a.status, a.header = resp.StatusCode, resp.Header
	if a.body, err = io.ReadAll(resp.Body); err == nil && a.status >= 400 {
		err = json.Unmarshal(a.body, &a.problem)
	}
	return a, err
}

// into checks the status and decodes the body.
func into[T any](t testing.TB, a answer, status int) (v T) {
	t.Helper()
	require.Equal(t, status, a.status, "%s", a.body)
	require.NoError(t, json.Unmarshal(a.body, &v))
	return v
}

// refused checks the status and the code of an error, and which parts of the
// request it names.
func refused(t testing.TB, a answer, status int, code string, fields ...string) {
	t.Helper()
	require.Equal(t, status, a.status, "%s", a.body)
	require.Equal(t, code, a.problem.Code, "%s", a.body)
	require.Equal(t, "application/problem+json", a.header.Get("Content-Type"))
	var named []string
	if a.problem.Errors != nil {
		for _, f := range *a.problem.Errors {
			named = append(named, f.Field)
		}
	}
	require.Equal(t, fields, named, "%s", a.body)
}

func euros(n int64) orderrest.Money { return orderrest.Money{MinorUnits: n, Currency: "EUR"} }

// product adds a product with a SKU of its own.
func (w *world) product(t testing.TB, price orderrest.Money, stock int64) orderrest.Product {
	t.Helper()
	return into[orderrest.Product](t, w.admin.do(t, "POST", "/products", orderrest.CreateProduct{
		SKU: "SKU-" + uuid.NewString(), Name: "Desk lamp", Price: price, Stock: stock,
	}), 201)
}

func (w *world) stock(t testing.TB, p orderrest.Product) int64 {
	t.Helper()
	return into[orderrest.Product](t, w.admin.do(t, "GET", "/products/"+p.ID.String(), nil), 200).Stock
}

// wanted is an order for n pieces of each product.
func wanted(n int64, products ...orderrest.Product) orderrest.PlaceOrder {
	var o orderrest.PlaceOrder
	for _, p := range products {
		o.Lines = append(o.Lines, orderrest.PlaceOrderLine{ProductID: p.ID, Quantity: n})
	}
	return o
}

// place orders n pieces of each product, which must be accepted as pending.
func (c *caller) place(t testing.TB, n int64, products ...orderrest.Product) orderrest.Order {
	t.Helper()
	o := into[orderrest.Order](t, c.do(t, "POST", "/orders", wanted(n, products...)), 201)
	require.Equal(t, orderrest.OrderStatusPending, o.Status)
	return o
}

func (c *caller) order(t testing.TB, o orderrest.Order) orderrest.Order {
	t.Helper()
	return into[orderrest.Order](t, c.do(t, "GET", "/orders/"+o.ID.String(), nil), 200)
}

// reaches waits until the order has the status.
func (c *caller) reaches(t testing.TB, o orderrest.Order, status orderrest.OrderStatus) (now orderrest.Order) {
	t.Helper()
	eventually(t, func() bool {
		now = c.order(t, o)
		return now.Status == status
	}, "the order does not become %s", status)
	return now
}

// act does cancel, ship or deliver.
func (c *caller) act(t testing.TB, o orderrest.Order, action string, body any) answer {
	t.Helper()
	return c.do(t, "POST", fmt.Sprintf("/orders/%s/%s", o.ID, action), body)
}

// settled waits until no saga of the module runs, and requires that each has
// ended well.
func (w *world) settled(t testing.TB) {
	t.Helper()
	count := func(states ...string) (n int64) {
		require.NoError(t, w.host.DB("order").Conn(context.Background()).Raw("SELECT count(*) FROM sagas WHERE state IN ?", states).Scan(&n).Error)
		return n
	}
	eventually(t, func() bool { return count("running", "compensating") == 0 }, "sagas still run")
	require.Zero(t, count("compensation_failed"))
}
