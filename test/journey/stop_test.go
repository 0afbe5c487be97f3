package journey_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	orderrest "cleave/modules/order/v1/rest"
)

// intent is an order that somebody wants, and what the server has told them.
type intent struct {
	buyer     *caller
	key       *string
	pieces    int64
	id        uuid.UUID // of the order; nil: not acknowledged
	cancelled bool      // acknowledged
}

// place sends the intent; an error means that its outcome is unknown.
func (i *intent) place(t testing.TB, lamp orderrest.Product) (*http.Response, error) {
	r, err := i.buyer.orders.PlaceOrderWithResponse(t.Context(), &orderrest.PlaceOrderParams{IdempotencyKey: i.key}, wanted(i.pieces, lamp))
	if err != nil {
		return nil, err
	}
	i.id = value(t, r.JSON201, r).ID
	return r.HTTPResponse, nil
}

// crowd is customers who order one thing after the other until the server is
// gone. Each has a connection of its own, as behind a load balancer.
type crowd struct {
	lamp    orderrest.Product
	buyers  []*caller
	acked   atomic.Int64
	mu      sync.Mutex
	intents []*intent
}

// newCrowd has credit for some of what it wants, so that some orders are
// rejected.
func (w *world) newCrowd(t testing.TB) *crowd {
	t.Helper()
	c := &crowd{lamp: w.newProduct(t, 100, 100000)}
	for i := range 4 {
		credit := int64(1_000_000)
		if i == 0 {
			credit = 2000
		}
		c.buyers = append(c.buyers, w.customer(t, credit))
	}
	return c
}

// run has every customer order, and cancel each fifth order, until next says
// that it is enough.
func (c *crowd) run(t testing.TB, next func(*http.Response, error) bool) (wait func()) {
	var wg sync.WaitGroup
	for _, buyer := range c.buyers {
		wg.Go(func() {
			for n := 0; ; n++ {
				i := &intent{buyer: buyer, key: newKey(), pieces: 1 + int64(n%3)}
				c.mu.Lock()
				c.intents = append(c.intents, i)
				c.mu.Unlock()
				resp, err := i.place(t, c.lamp)
				if err == nil {
					c.acked.Add(1)
				}
				if !next(resp, err) {
					return
				}
				if n%5 != 0 {
					continue
				}
				r, err := buyer.orders.CancelOrderWithResponse(t.Context(), i.id, nil, orderrest.CancelOrder{})
				if err != nil {
					next(nil, err)
					return
				}
				i.cancelled = r.JSON200 != nil // it may have been rejected before
				if !next(r.HTTPResponse, nil) {
					return
				}
			}
		})
	}
	return wg.Wait
}

// kept requires that the server has every order that it acknowledged, as it
// did, and no order that nobody sent.
func (c *crowd) kept(t testing.TB, w *world) {
	t.Helper()
	byID := map[uuid.UUID]orderrest.Order{}
	for _, o := range w.orders(t) {
		byID[o.ID] = o
	}
	for _, i := range c.intents {
		o, ok := byID[i.id]
		require.True(t, ok, "an acknowledged order is gone")
		require.Equal(t, i.buyer.id, o.BuyerID)
		require.Equal(t, i.pieces, o.Lines[0].Quantity)
		if i.cancelled {
			require.Equal(t, orderrest.OrderStatusCancelled, o.Status)
		}
		delete(byID, i.id)
	}
	require.Empty(t, byID, "there are orders that nobody sent, or two for one")
}

// slowly begins to place the intent, and leaves the rest of the request to
// finish, which returns the status.
func (i *intent) slowly(t testing.TB, lamp orderrest.Product) (finish func() int) {
	t.Helper()
	body, err := json.Marshal(wanted(i.pieces, lamp))
	require.NoError(t, err)
	conn, err := net.Dial("tcp", strings.TrimPrefix(i.buyer.url, "http://"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	_, err = fmt.Fprintf(conn, "POST /api/v1/orders HTTP/1.1\r\nHost: cleave\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n"+
		"Idempotency-Key: %s\r\nContent-Length: %d\r\n\r\n%s", i.buyer.token, *i.key, len(body), body[:len(body)/2])
	require.NoError(t, err)
	return func() int {
		_, err := conn.Write(body[len(body)/2:])
		require.NoError(t, err)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err, "a request under way was cut off")
		defer func() { _ = resp.Body.Close() }()
		var o orderrest.Order
		require.NoError(t, json.NewDecoder(resp.Body).Decode(&o))
		i.id = o.ID
		return resp.StatusCode
	}
}

// TestStop stops a server that is busy: no request fails, one that is half sent
// is finished, and the next process goes on with everything.
func TestStop(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		c := w.newCrowd(t)
		stream := c.buyers[1].follow(t, nil)
		wait := c.run(t, func(resp *http.Response, err error) bool {
			if err != nil && !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("a request failed: %v", err)
			}
			// A load balancer would now choose another process.
			return err == nil && !resp.Close
		})
		require.True(t, happens(func() bool { return c.acked.Load() >= 40 }))
		stream.next(t)
		late := &intent{buyer: c.buyers[2], key: newKey(), pieces: 1}
		finish := late.slowly(t, c.lamp)
		require.NoError(t, w.server.Signal(syscall.SIGTERM))
		wait()
		<-stream.ended
		require.True(t, happens(func() bool {
			conn, err := net.Dial("tcp", strings.TrimPrefix(w.server.url, "http://"))
			if err == nil {
				_ = conn.Close()
			}
			return errors.Is(err, syscall.ECONNREFUSED)
		}), "the server still takes connections")
		require.Equal(t, http.StatusCreated, finish())
		c.intents = append(c.intents, late)
		require.Zero(t, w.server.wait(t))

		// The last request of each customer may not have reached the server.
		c.intents = acknowledged(c.intents)
		w.restarted(t)
		c.kept(t, w)
	}, "CLEAVE_HTTP_DRAIN_DELAY=300ms")
}

func acknowledged(all []*intent) (acked []*intent) {
	for _, i := range all {
		if i.id != uuid.Nil {
			acked = append(acked, i)
		}
	}
	return acked
}

// TestKill kills the server again and again in the middle of orders. What was
// acknowledged is kept and comes to an end; a customer who got no answer asks
// again with the same key and has one order.
func TestKill(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		c := w.newCrowd(t)
		for round := range 3 {
			goal := c.acked.Load() + 25
			wait := c.run(t, func(_ *http.Response, err error) bool { return err == nil })
			require.True(t, happens(func() bool { return c.acked.Load() >= goal }), "round %d", round)
			require.Equal(t, -1, w.server.signal(t, syscall.SIGKILL))
			wait()
			w.restarted(t)
			for _, i := range c.intents {
				known := i.id
				_, err := i.place(t, c.lamp)
				require.NoError(t, err)
				if known != uuid.Nil {
					require.Equal(t, known, i.id, "the same key has placed another order")
				}
			}
			c.kept(t, w)
		}
		w.balanced(t)
		for _, o := range w.orders(t) {
			require.NotEqual(t, orderrest.OrderStatusPending, o.Status)
		}
		for _, i := range c.intents {
			require.Contains(t, []orderrest.OrderStatus{"confirmed", "rejected", "cancelled"}, i.buyer.order(t, i.id).Status)
		}
	}, "CLEAVE_SAGAS_LEASE=1s")
}

// TestRestart finds everything as it was: the data, the sessions, the cursors
// and the answers under their keys.
func TestRestart(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		buyer := w.customer(t, 5000)
		lamp := w.newProduct(t, 1000, 10)
		w.newProduct(t, 1000, 10)
		body := fmt.Sprintf(`{"lines":[{"product_id":%q,"quantity":2}]}`, lamp.ID)
		placed := buyer.send(t, "POST", "/api/v1/orders", body, "Idempotency-Key", "before")
		require.Equal(t, 201, placed.status, "%s", placed.body)
		var page orderrest.ProductList
		decode(t, buyer.send(t, "GET", "/api/v1/products?limit=1", "").body, &page)
		w.balanced(t)
		before := w.state(t)

		w.server.stop(t)
		w.restarted(t)
		require.Equal(t, before, w.state(t))
		again := buyer.send(t, "POST", "/api/v1/orders", body, "Idempotency-Key", "before")
		require.Equal(t, string(placed.body), string(again.body))
		next := buyer.send(t, "GET", "/api/v1/products?limit=1&cursor="+*page.NextCursor, "")
		require.Equal(t, 200, next.status, "%s", next.body)
		require.Equal(t, before, w.state(t))
		refused(t, newCaller(t, w.server.url).send(t, "POST", "/api/v1/users/first-admin",
			fmt.Sprintf(`{"token":%q,"email":"new@example.com","password":%q,"display_name":"Eve"}`, "0123456789abcdef0123", password)), 409, "first_admin_exists")
	})
}
