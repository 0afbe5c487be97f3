package demo

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cleave/platform/fault"
)

func TestOptions(t *testing.T) {
	t.Parallel()
	good := options{rate: 10, duration: time.Minute, users: 2}
	require.NoError(t, good.check())
	require.Equal(t, 600, good.orders())
	for name, change := range map[string]func(*options){
		"NoRate":     func(o *options) { o.rate = 0 },
		"TooFast":    func(o *options) { o.rate = maxRate + 1 },
		"NoTime":     func(o *options) { o.duration = 0 },
		"OneUser":    func(o *options) { o.users = 1 },
		"ManyUsers":  func(o *options) { o.users = maxUsers + 1 },
		"NoOrders":   func(o *options) { o.duration = 99 * time.Millisecond },
		"ManyOrders": func(o *options) { o.duration = 28 * time.Hour },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bad := good
			change(&bad)
			require.Equal(t, fault.Invalid, fault.KindOf(bad.check()))
		})
	}
}

func TestPlan(t *testing.T) {
	t.Parallel()
	p := plan{seed: 7, orders: 2000, buyers: 4, products: 5}
	collect := func(p plan) (all []planned) {
		for _, o := range p.all() {
			all = append(all, o)
		}
		return all
	}
	orders := collect(p)
	require.Len(t, orders, 2000)
	require.Equal(t, orders, collect(p), "a plan follows from its seed")
	require.NotEqual(t, orders, collect(plan{seed: 8, orders: 2000, buyers: 4, products: 5}))
	seen := map[fate]int{}
	for _, o := range orders {
		seen[o.fate]++
		require.Equal(t, o.fate == refuse, o.buyer == 3, "the last buyer's orders are refused, and no others")
		var products []int
		for _, l := range o.lines {
			require.NotContains(t, products, l.product)
			products = append(products, l.product)
			require.Positive(t, l.quantity)
		}
		require.NotEmpty(t, products)
	}
	require.Len(t, seen, 6)

	pieces, credit := p.needs([]int64{1, 10, 100, 1000, 10000})
	require.Zero(t, credit[3])
	var wantPieces, wantCredit int64
	for _, o := range orders {
		for _, l := range o.lines {
			if l.product == 2 {
				wantPieces += l.quantity
			}
			if o.buyer == 0 {
				wantCredit += []int64{1, 10, 100, 1000, 10000}[l.product] * l.quantity
			}
		}
	}
	require.Equal(t, wantPieces, pieces[2])
	require.Equal(t, wantCredit, credit[0])
}

// A request that is put off, or whose answer is lost, comes again unchanged.
func TestRetrying(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	var keys, bodies []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		keys, bodies = append(keys, r.Header.Get("Idempotency-Key")), append(bodies, string(body))
		switch calls.Add(1) {
		case 1:
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusServiceUnavailable)
		case 2:
			panic(http.ErrAbortHandler)
		case 3:
			w.WriteHeader(http.StatusConflict)
			_, _ = io.WriteString(w, `{"code":"idempotency_key_in_flight"}`)
		default:
			w.WriteHeader(http.StatusConflict)
			_, _ = io.WriteString(w, `{"code":"out_of_stock"}`)
		}
	}))
	defer server.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, bytes.NewReader([]byte("body")))
	require.NoError(t, err)
	req.Header.Set("Idempotency-Key", "key")
	resp, err := retrying{server.Client()}.Do(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.JSONEq(t, `{"code":"out_of_stock"}`, string(body), "the answer can still be read")
	require.Equal(t, slices.Repeat([]string{"key"}, 4), keys)
	require.Equal(t, slices.Repeat([]string{"body"}, 4), bodies)
}

func TestHistogram(t *testing.T) {
	t.Parallel()
	var h histogram
	require.Zero(t, h.quantile(0.5))
	for i := range 100 {
		h.add(time.Duration(i+1) * time.Millisecond)
	}
	require.InEpsilon(t, 50*time.Millisecond, h.quantile(0.5), 0.05)
	require.InEpsilon(t, 99*time.Millisecond, h.quantile(0.99), 0.05)
	h.add(1000 * time.Hour)
	require.Positive(t, h.quantile(1))
}

// Off a terminal, each line of progress stays.
func TestScreen(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	s := newScreen(&out)
	s.show("placed %d", 1)
	s.say("done")
	s.end()
	require.Equal(t, "placed 1\ndone\n", out.String())
}
