package moving_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	noterest "cleave/modules/notification/v1/rest"
	orderrest "cleave/modules/order/v1/rest"
	userrest "cleave/modules/user/v1/rest"
)

const (
	password = "correct horse battery staple"
	credit   = 100_000_000 // minor units
	stock    = 1_000_000
	price    = 300
)

// caller is a user who is logged in.
type caller struct {
	id     uuid.UUID
	email  string
	token  string
	users  *userrest.ClientWithResponses
	orders *orderrest.ClientWithResponses
	notes  *noterest.ClientWithResponses

	mu     sync.Mutex
	placed []uuid.UUID
}

func newCaller(t *testing.T, url string) *caller {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 256}
	t.Cleanup(transport.CloseIdleConnections)
	h := &http.Client{Transport: transport, Timeout: patience}
	c := &caller{}
	authorise := func(_ context.Context, r *http.Request) error {
		if c.token != "" {
			r.Header.Set("Authorization", "Bearer "+c.token)
		}
		return nil
	}
	var err error
	c.users, err = userrest.NewClientWithResponses(url, userrest.WithHTTPClient(h), userrest.WithRequestEditorFn(authorise))
	require.NoError(t, err)
	c.orders, err = orderrest.NewClientWithResponses(url, orderrest.WithHTTPClient(h), orderrest.WithRequestEditorFn(authorise))
	require.NoError(t, err)
	c.notes, err = noterest.NewClientWithResponses(url, noterest.WithHTTPClient(h), noterest.WithRequestEditorFn(authorise))
	require.NoError(t, err)
	return c
}

func (c *caller) logIn(t *testing.T, email string) {
	t.Helper()
	r, err := c.users.LogInWithResponse(t.Context(), nil, userrest.LogIn{Email: email, Password: password})
	require.NoError(t, err)
	require.NotNil(t, r.JSON201, "%s", r.Body)
	c.id, c.email, c.token = r.JSON201.UserID, email, r.JSON201.AccessToken
}

func key() *string {
	k := uuid.NewString()
	return &k
}

// shop is the program with customers and a product.
type shop struct {
	admin     *caller
	customers []*caller
	product   uuid.UUID
}

func newShop(t *testing.T, url, token string, customers int) *shop {
	t.Helper()
	s := &shop{admin: newCaller(t, url)}
	const root = "root@example.com"
	first, err := s.admin.users.CreateFirstAdminWithResponse(t.Context(), nil, userrest.CreateFirstAdmin{Token: token, Email: root, Password: password, DisplayName: "Grace"})
	require.NoError(t, err)
	require.NotNil(t, first.JSON201, "%s", first.Body)
	s.admin.logIn(t, root)
	p, err := s.admin.orders.CreateProductWithResponse(t.Context(), &orderrest.CreateProductParams{IdempotencyKey: key()},
		orderrest.CreateProduct{SKU: "PEN-1", Name: "Pen", Price: orderrest.Money{MinorUnits: price, Currency: "EUR"}, Stock: stock})
	require.NoError(t, err)
	require.NotNil(t, p.JSON201, "%s", p.Body)
	s.product = p.JSON201.ID
	for n := range customers {
		c := newCaller(t, url)
		email := fmt.Sprintf("ada%d@example.com", n)
		r, err := c.users.RegisterUserWithResponse(t.Context(), &userrest.RegisterUserParams{IdempotencyKey: key()},
			userrest.RegisterUser{Email: email, Password: password, DisplayName: "Ada"})
		require.NoError(t, err)
		require.NotNil(t, r.JSON201, "%s", r.Body)
		c.logIn(t, email)
		top, err := s.admin.users.TopUpCreditWithResponse(t.Context(), c.id, &userrest.TopUpCreditParams{IdempotencyKey: key()},
			userrest.TopUpCredit{Amount: userrest.Money{MinorUnits: credit, Currency: "EUR"}})
		require.NoError(t, err)
		require.NotNil(t, top.JSON201, "%s", top.Body)
		s.customers = append(s.customers, c)
	}
	return s
}

// act sends one request, of all kinds in turn.
func (s *shop) act(ctx context.Context, n int) error {
	c := s.customers[n%len(s.customers)]
	var status int
	var body []byte
	switch n % 5 {
	case 0, 1:
		r, err := c.orders.PlaceOrderWithResponse(ctx, &orderrest.PlaceOrderParams{IdempotencyKey: key()},
			orderrest.PlaceOrder{Lines: []orderrest.PlaceOrderLine{{ProductID: s.product, Quantity: 1}}})
		if err != nil {
			return err
		}
		if r.JSON201 != nil {
			c.mu.Lock()
			c.placed = append(c.placed, r.JSON201.ID)
			c.mu.Unlock()
			return nil
		}
		status, body = r.StatusCode(), r.Body
	case 2:
		r, err := c.users.GetCreditWithResponse(ctx, c.id)
		if err != nil {
			return err
		}
		if r.JSON200 != nil {
			if sum := r.JSON200.Available + r.JSON200.Reserved + r.JSON200.Captured; sum != credit {
				return fmt.Errorf("the credit adds up to %d", sum)
			}
			return nil
		}
		status, body = r.StatusCode(), r.Body
	case 3:
		r, err := c.users.GetProfileWithResponse(ctx)
		if err != nil {
			return err
		}
		status, body = r.StatusCode(), r.Body
	case 4:
		r, err := c.orders.ListOrdersWithResponse(ctx, &orderrest.ListOrdersParams{})
		if err != nil {
			return err
		}
		status, body = r.StatusCode(), r.Body
	}
	if status >= 300 {
		return fmt.Errorf("%d %s", status, body)
	}
	return nil
}

// sample is one request.
type sample struct {
	at   time.Time
	took time.Duration
	err  error
}

// load sends requests at a steady rate, however fast they are answered, until
// end is called, which returns all of them.
func (s *shop) load(rate int) (end func() []sample) {
	stop := make(chan struct{})
	var mu sync.Mutex
	var samples []sample
	var under sync.WaitGroup
	under.Go(func() {
		tick := time.NewTicker(time.Second / time.Duration(rate))
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			under.Go(func() {
				began := time.Now()
				err := s.act(context.Background(), n)
				mu.Lock()
				defer mu.Unlock()
				samples = append(samples, sample{began, time.Since(began), err})
			})
		}
	})
	return func() []sample {
		close(stop)
		under.Wait()
		return samples
	}
}

// p99 is of the samples between two times.
func p99(samples []sample, from, to time.Time) (time.Duration, int) {
	var took []time.Duration
	for _, s := range samples {
		if !s.at.Before(from) && s.at.Before(to) {
			took = append(took, s.took)
		}
	}
	if len(took) == 0 {
		return 0, 0
	}
	slices.Sort(took)
	return took[len(took)*99/100], len(took)
}

// complete checks that every order that was taken down has had each of its effects once.
func (s *shop) complete(t *testing.T) {
	t.Helper()
	limit := int32(100)
	total := 0
	for _, c := range s.customers {
		c.logIn(t, c.email)
		total += len(c.placed)
		told := map[uuid.UUID]int{}
		require.Eventually(t, func() bool {
			clear(told)
			for cursor := (*string)(nil); ; {
				r, err := c.notes.ListNotificationsWithResponse(t.Context(), &noterest.ListNotificationsParams{Limit: &limit, Cursor: cursor})
				require.NoError(t, err)
				require.NotNil(t, r.JSON200, "%s", r.Body)
				for _, n := range r.JSON200.Items {
					if n.Kind == noterest.NotificationKindConfirmed {
						told[*n.OrderID]++
					}
				}
				if cursor = r.JSON200.NextCursor; cursor == nil {
					return len(told) >= len(c.placed)
				}
			}
		}, patience, 100*time.Millisecond)
		for _, id := range c.placed {
			require.Equal(t, 1, told[id], "notifications of order %s", id)
			r, err := c.orders.GetOrderWithResponse(t.Context(), id)
			require.NoError(t, err)
			require.NotNil(t, r.JSON200, "%s", r.Body)
			require.Equal(t, orderrest.OrderStatusConfirmed, r.JSON200.Status)
		}
		r, err := c.users.GetCreditWithResponse(t.Context(), c.id)
		require.NoError(t, err)
		require.NotNil(t, r.JSON200, "%s", r.Body)
		require.EqualValues(t, credit-price*len(c.placed), r.JSON200.Available)
	}
	p, err := s.admin.orders.GetProductWithResponse(t.Context(), s.product)
	require.NoError(t, err)
	require.NotNil(t, p.JSON200, "%s", p.Body)
	require.EqualValues(t, stock-total, p.JSON200.Stock)
	require.NotZero(t, total)
}
