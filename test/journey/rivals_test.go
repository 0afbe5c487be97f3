package journey_test

import (
	"net/http"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	orderrest "cleave/modules/order/v1/rest"
)

// lastPieces has 200 customers' orders meet over 100 pieces.
func lastPieces(t *testing.T, w *world) {
	const pieces, rivals = 100, 200
	lamp := w.newProduct(t, 1299, pieces)
	buyers := make([]*caller, 4)
	for i := range buyers {
		buyers[i] = w.customer(t, rivals*1299)
	}
	var (
		mu     sync.Mutex
		placed []orderrest.Order
		start  = make(chan struct{})
		wg     sync.WaitGroup
	)
	for i := range rivals {
		buyer := buyers[i%len(buyers)]
		wg.Go(func() {
			<-start
			r, err := buyer.orders.PlaceOrderWithResponse(t.Context(), &orderrest.PlaceOrderParams{IdempotencyKey: newKey()}, wanted(1, lamp))
			if err != nil {
				t.Error(err)
				return
			}
			if p := r.ApplicationProblemJSON409; r.StatusCode() == http.StatusConflict && p != nil && p.Code == "out_of_stock" {
				return
			}
			if r.JSON201 == nil {
				t.Errorf("neither placed nor out of stock: %d %s", r.StatusCode(), r.Body)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			placed = append(placed, *r.JSON201)
		})
	}
	close(start)
	wg.Wait()
	require.Len(t, placed, pieces)
	w.balanced(t)
	for _, o := range placed {
		require.Equal(t, orderrest.OrderStatusConfirmed, w.admin.order(t, o.ID).Status)
	}
	require.Zero(t, w.admin.product(t, lamp.ID).Stock)
	var reserved int64
	for _, b := range buyers {
		reserved += b.credit(t, b.id).Reserved
	}
	require.Equal(t, int64(pieces*1299), reserved)
}
