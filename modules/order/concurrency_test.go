package order

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	orderrest "cleave/modules/order/v1/rest"
)

// together runs fn n times at once.
func together(n int, fn func(i int)) {
	var all sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		all.Go(func() {
			<-start
			fn(i)
		})
	}
	close(start)
	all.Wait()
}

// 200 orders at once for 100 pieces: exactly 100 are confirmed.
func TestStockUnderConcurrentOrders(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		const buyers, pieces = 200, 100
		p := w.product(t, euros(10), pieces)
		callers := make([]*caller, buyers)
		for i := range callers {
			callers[i] = w.customer(t, 10)
		}
		answers, errs := make([]answer, buyers), make([]error, buyers)
		together(buyers, func(i int) {
			answers[i], errs[i] = callers[i].try(context.Background(), "POST", "/orders", wanted(1, p))
		})
		accepted := 0
		for i, a := range answers {
			require.NoError(t, errs[i])
			if a.status == 201 {
				accepted++
				continue
			}
			require.Equal(t, 409, a.status, "%s", a.body)
			require.Equal(t, "out_of_stock", a.problem.Code)
		}
		require.Equal(t, pieces, accepted)
		w.settled(t)
		confirmed := 0
		for i, a := range answers {
			if a.status == 201 {
				o := callers[i].order(t, into[orderrest.Order](t, a, 201))
				require.Equal(t, orderrest.OrderStatusConfirmed, o.Status)
				require.Equal(t, account{granted: 10, reserved: 10}, w.users.account(t, callers[i].id))
				confirmed++
				continue
			}
			require.Empty(t, into[orderrest.OrderList](t, callers[i].do(t, "GET", "/orders", nil), 200).Items)
		}
		require.Equal(t, pieces, confirmed)
		require.Zero(t, w.stock(t, p))
	})
}

// Orders of several products in any sequence, cancelled, shipped and rejected
// at the same time: in the end every piece is in stock or in an order that
// holds it, and every cent in one place.
func TestConservation(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		const workers, rounds, stock, credit = 32, 4, 60, 150
		products := make([]orderrest.Product, 12)
		for i := range products {
			products[i] = w.product(t, euros(int64(1+i%3)), stock)
		}
		callers := make([]*caller, 8)
		for i := range callers {
			callers[i] = w.customer(t, credit)
		}
		errs := make(chan error, workers*rounds*3)
		together(workers, func(i int) {
			buyer, random := callers[i%len(callers)], rand.New(rand.NewPCG(uint64(i), 1))
			for range rounds {
				lines := slices.Clone(products)
				random.Shuffle(len(lines), func(a, b int) { lines[a], lines[b] = lines[b], lines[a] })
				a, err := buyer.try(context.Background(), "POST", "/orders", wanted(1, lines[:9+random.IntN(3)]...))
				if err != nil || (a.status != 201 && a.problem.Code != "out_of_stock") {
					errs <- fmt.Errorf("place: %d %s %w", a.status, a.body, err)
					return
				}
				path := "/api/v1/orders/"
				for _, action := range [][]string{{"cancel"}, {"cancel", "cancel"}, {"ship"}, {"cancel", "ship"}, nil}[random.IntN(5)] {
					if a.status != 201 {
						break
					}
					done, err := w.admin.try(context.Background(), "POST", a.header.Get("Location")[len(path)-len("/orders/"):]+"/"+action, nil)
					if err != nil || (done.status != 200 && done.problem.Code != "order_transition") {
						errs <- fmt.Errorf("%s: %d %s %w", action, done.status, done.body, err)
					}
				}
			}
		})
		close(errs)
		for err := range errs {
			require.NoError(t, err)
		}
		w.settled(t)

		held := map[string]int64{}
		for i := range products {
			held[products[i].ID.String()] = w.stock(t, products[i])
		}
		for _, buyer := range callers {
			want := account{granted: credit}
			for _, o := range buyer.orders(t) {
				switch o.Status {
				case orderrest.OrderStatusConfirmed:
					want.reserved += o.Total.MinorUnits
				case orderrest.OrderStatusShipped:
					want.captured += o.Total.MinorUnits
				case orderrest.OrderStatusRejected, orderrest.OrderStatusCancelled:
					continue
				default:
					t.Fatalf("order %s is %s", o.ID, o.Status)
				}
				for _, l := range o.Lines {
					held[l.ProductID.String()] += l.Quantity
				}
			}
			want.available = want.granted - want.reserved - want.captured
			require.Equal(t, want, w.users.account(t, buyer.id))
		}
		for _, p := range products {
			require.Equal(t, int64(stock), held[p.ID.String()])
		}
	})
}
