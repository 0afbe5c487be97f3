package journey_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	orderrest "cleave/modules/order/v1/rest"
	userrest "cleave/modules/user/v1/rest"
)

// world is a running server and everyone in it.
type world struct {
	site   *site
	server *server
	admin  *caller

	mu      sync.Mutex
	callers []*caller
	stock   map[uuid.UUID]int64 // what each product had at first, with all that was added or taken since
}

// newWorld starts a server on an empty site and makes its first administrator
// with the token that it printed.
func newWorld(t testing.TB, s *site) *world {
	t.Helper()
	w := &world{site: s, server: s.serve(t), stock: map[uuid.UUID]int64{}}
	require.NotEmpty(t, w.server.token, "no token for the first administrator:\n%s", w.server.block)
	w.admin = w.stranger(t)
	const email = "root@example.com"
	r, err := w.admin.users.CreateFirstAdminWithResponse(t.Context(), nil,
		userrest.CreateFirstAdmin{Token: w.server.token, Email: email, Password: password, DisplayName: "Grace Hopper"})
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"admin", "customer"}, value(t, r.JSON201, r).Roles)
	w.admin.logIn(t, email)
	return w
}

// eachWorld runs fn in a world on each database, and adds everything up at the
// end.
func eachWorld(t *testing.T, fn func(t *testing.T, w *world), settings ...string) {
	t.Helper()
	eachSite(t, func(t *testing.T, s *site) {
		w := newWorld(t, s)
		fn(t, w)
		w.balanced(t)
	}, settings...)
}

// restarted continues the world with the next process on the same site.
func (w *world) restarted(t testing.TB) {
	t.Helper()
	w.server = w.site.serve(t)
	require.Empty(t, w.server.token, "a token is offered although there is an administrator")
	for _, c := range w.callers {
		c.moveTo(t, w.server.url)
	}
}

func (w *world) stranger(t testing.TB) *caller {
	t.Helper()
	c := newCaller(t, w.server.url)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.callers = append(w.callers, c)
	return c
}

// customer registers, logs in, and is given credit by the administrator.
func (w *world) customer(t testing.TB, cents int64) *caller {
	t.Helper()
	c := w.stranger(t)
	email := fmt.Sprintf("ada+%s@example.com", uuid.NewString()[:8])
	r, err := c.users.RegisterUserWithResponse(t.Context(), &userrest.RegisterUserParams{IdempotencyKey: newKey()},
		userrest.RegisterUser{Email: email, Password: password, DisplayName: "Ada Lovelace"})
	require.NoError(t, err)
	require.Equal(t, []string{"customer"}, value(t, r.JSON201, r).Roles)
	c.logIn(t, email)
	if cents > 0 {
		w.admin.topUp(t, c.id, cents)
	}
	return c
}

// newProduct adds a product to the catalogue; its price is in euros.
func (w *world) newProduct(t testing.TB, cents, stock int64) orderrest.Product {
	t.Helper()
	return w.newProductIn(t, orderrest.Money{MinorUnits: cents, Currency: "EUR"}, stock)
}

func (w *world) newProductIn(t testing.TB, price orderrest.Money, stock int64) orderrest.Product {
	t.Helper()
	r, err := w.admin.orders.CreateProductWithResponse(t.Context(), &orderrest.CreateProductParams{IdempotencyKey: newKey()},
		orderrest.CreateProduct{SKU: "LAMP-" + uuid.NewString()[:8], Name: "Desk lamp", Price: price, Stock: stock})
	require.NoError(t, err)
	p := value(t, r.JSON201, r)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stock[p.ID] = stock
	return p
}
