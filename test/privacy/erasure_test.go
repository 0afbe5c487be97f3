package privacy_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"cleave/modules/notification"
	noterest "cleave/modules/notification/v1/rest"
	"cleave/modules/order"
	orderrest "cleave/modules/order/v1/rest"
	"cleave/modules/user"
	userrest "cleave/modules/user/v1/rest"
	"cleave/platform/config"
	"cleave/platform/db"
	"cleave/platform/db/dbtest"
	"cleave/platform/module"
	"cleave/platform/moduletest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

const (
	password = "correct horse"
	soon     = 20 * time.Second // on a busy machine
	often    = 50 * time.Millisecond
)

var modules = []module.Spec{user.Module, order.Module, notification.Module}

// world is all modules in one process.
type world struct {
	cfg    *config.Config
	host   *module.Host
	users  *userrest.ClientWithResponses
	orders *orderrest.ClientWithResponses
	notes  *noterest.ClientWithResponses
}

func setup(t *testing.T, cfg *config.Config) *world {
	t.Helper()
	cfg.HTTP.RequestTimeout = time.Minute // hashing passwords takes its time on a busy machine
	w := &world{cfg: cfg, host: moduletest.Start(t, cfg, modules...)}
	var err error
	w.users, err = userrest.NewClientWithResponses(w.host.URL())
	require.NoError(t, err)
	w.orders, err = orderrest.NewClientWithResponses(w.host.URL())
	require.NoError(t, err)
	w.notes, err = noterest.NewClientWithResponses(w.host.URL())
	require.NoError(t, err)
	return w
}

// bearer makes requests those of a user.
func bearer(token string) func(context.Context, *http.Request) error {
	return func(_ context.Context, r *http.Request) error {
		r.Header.Set("Authorization", "Bearer "+token)
		return nil
	}
}

func (w *world) login(t *testing.T, email string) (uuid.UUID, func(context.Context, *http.Request) error) {
	t.Helper()
	r, err := w.users.LogInWithResponse(t.Context(), nil, userrest.LogIn{Email: email, Password: password})
	require.NoError(t, err)
	require.NotNil(t, r.JSON201, "%s", r.Body)
	return r.JSON201.UserID, bearer(r.JSON201.AccessToken)
}

func (w *world) admin(t *testing.T) func(context.Context, *http.Request) error {
	t.Helper()
	token, err := os.ReadFile(filepath.Join(w.cfg.Data.Dir, "first-admin-token"))
	require.NoError(t, err)
	r, err := w.users.CreateFirstAdminWithResponse(t.Context(), nil, userrest.CreateFirstAdmin{
		Token: strings.TrimSpace(string(token)), Email: "root@example.com", Password: password, DisplayName: "Grace",
	})
	require.NoError(t, err)
	require.NotNil(t, r.JSON201, "%s", r.Body)
	_, as := w.login(t, "root@example.com")
	return as
}

// buy places an order and waits until it is confirmed.
func (w *world) buy(t *testing.T, as func(context.Context, *http.Request) error, product uuid.UUID) uuid.UUID {
	t.Helper()
	r, err := w.orders.PlaceOrderWithResponse(t.Context(), &orderrest.PlaceOrderParams{IdempotencyKey: ptr(uuid.NewString())},
		orderrest.PlaceOrder{Lines: []orderrest.PlaceOrderLine{{ProductID: product, Quantity: 1}}}, as)
	require.NoError(t, err)
	require.NotNil(t, r.JSON201, "%s", r.Body)
	require.Eventually(t, func() bool {
		o, err := w.orders.GetOrderWithResponse(t.Context(), r.JSON201.ID, as)
		return err == nil && o.JSON200 != nil && o.JSON200.Status == orderrest.OrderStatusConfirmed
	}, soon, often)
	return r.JSON201.ID
}

func ptr[T any](v T) *T { return &v }

// found are the places in a module's tables where one of the words is, in any letter case.
func found(t *testing.T, d *db.DB, words ...string) (places []string) {
	t.Helper()
	list := "SELECT name FROM sqlite_master WHERE type = 'table'"
	if d.Dialect() == "postgres" {
		list = "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()"
	}
	var tables []string
	require.NoError(t, d.Conn(t.Context()).Raw(list).Scan(&tables).Error)
	require.Greater(t, len(tables), 5)
	for _, table := range tables {
		var rows []map[string]any
		require.NoError(t, d.Conn(t.Context()).Raw(fmt.Sprintf("SELECT * FROM %q", table)).Scan(&rows).Error, table)
		for _, row := range rows {
			for column, value := range row {
				text := fmt.Sprint(value)
				if b, ok := value.([]byte); ok {
					text = string(b)
				}
				for _, word := range words {
					if strings.Contains(strings.ToLower(text), strings.ToLower(word)) {
						places = append(places, d.Module()+"."+table+"."+column)
					}
				}
			}
		}
	}
	return places
}

// anywhere is found in all modules, and among the mails.
func (w *world) anywhere(t *testing.T, words ...string) (places []string) {
	t.Helper()
	for _, m := range modules {
		places = append(places, found(t, w.host.DB(m.Name), words...)...)
	}
	mails, err := filepath.Glob(filepath.Join(w.cfg.Data.Dir, "mail", "*.eml"))
	require.NoError(t, err)
	for _, name := range mails {
		content, err := os.ReadFile(name)
		require.NoError(t, err)
		for _, word := range words {
			if strings.Contains(string(content), word) {
				places = append(places, filepath.Base(name))
			}
		}
	}
	return places
}

// TestErasure deletes an account and looks into every column of every table of every module for the person.
func TestErasure(t *testing.T) {
	t.Parallel()
	moduletest.Each(t, modules, func(t *testing.T, cfg *config.Config) {
		t.Parallel()
		w := setup(t, cfg)
		ctx, root := t.Context(), w.admin(t)
		product, err := w.orders.CreateProductWithResponse(ctx, nil, orderrest.CreateProduct{
			SKU: "LAMP", Name: "Lamp", Price: orderrest.Money{MinorUnits: 100, Currency: "EUR"}, Stock: 10,
		}, root)
		require.NoError(t, err)
		require.NotNil(t, product.JSON201, "%s", product.Body)

		const email, name = "Eleanor.Quimby@example.com", "Eleanor Quimby"
		registered, err := w.users.RegisterUserWithResponse(ctx, &userrest.RegisterUserParams{IdempotencyKey: ptr(uuid.NewString())},
			userrest.RegisterUser{Email: email, Password: password, DisplayName: name})
		require.NoError(t, err)
		require.NotNil(t, registered.JSON201, "%s", registered.Body)
		id, as := w.login(t, email)
		topUp, err := w.users.TopUpCreditWithResponse(ctx, id, nil, userrest.TopUpCredit{
			Amount: userrest.Money{MinorUnits: 1000, Currency: "EUR"}, Note: ptr("for Eleanor Quimby"),
		}, root)
		require.NoError(t, err)
		require.NotNil(t, topUp.JSON201, "%s", topUp.Body)
		shipped, open := w.buy(t, as, product.JSON201.ID), w.buy(t, as, product.JSON201.ID)
		ship, err := w.orders.ShipOrderWithResponse(ctx, shipped, nil, orderrest.ShipOrder{TrackingCode: ptr("QUIMBY-1")}, root)
		require.NoError(t, err)
		require.NotNil(t, ship.JSON200, "%s", ship.Body)
		reset, err := w.users.RequestPasswordResetWithResponse(ctx, nil, userrest.EmailRequest{Email: email})
		require.NoError(t, err)
		require.Equal(t, http.StatusAccepted, reset.StatusCode())
		require.Eventually(t, func() bool {
			mails, _ := filepath.Glob(filepath.Join(cfg.Data.Dir, "mail", "*.eml"))
			return len(mails) >= 7 // two of the administrator's may be among them
		}, soon, often)
		require.NotEmpty(t, w.anywhere(t, email, "quimby"), "the search finds what is there")

		deleted, err := w.users.DeleteAccountWithResponse(ctx, nil, userrest.DeleteAccount{Password: password}, as)
		require.NoError(t, err)
		require.Equal(t, http.StatusNoContent, deleted.StatusCode(), "%s", deleted.Body)
		require.Eventually(t, func() bool {
			me, err := w.users.GetProfileWithResponse(ctx, as)
			return err == nil && me.StatusCode() == http.StatusUnauthorized
		}, soon, often, "signed out")
		require.EventuallyWithT(t, func(c *assert.CollectT) { assert.Empty(c, w.anywhere(t, email, "quimby")) }, soon, often)

		// The orders stay, without the buyer, and the ledger's sums without the person.
		for order, want := range map[uuid.UUID]orderrest.OrderStatus{shipped: orderrest.OrderStatusShipped, open: orderrest.OrderStatusCancelled} {
			require.Eventually(t, func() bool {
				o, err := w.orders.GetOrderWithResponse(ctx, order, root)
				return err == nil && o.JSON200 != nil && o.JSON200.Status == want && o.JSON200.BuyerID != id && o.JSON200.TrackingCode == nil
			}, soon, often, want)
		}
		for _, table := range []string{"users", "accounts", "reservations", "ledger_entries", "sessions"} {
			var n int64
			column := "user_id"
			if table == "users" {
				column = "id"
			}
			require.NoError(t, w.host.DB("user").Conn(ctx).Raw(fmt.Sprintf("SELECT count(*) FROM %s WHERE %s = ?", table, column), id.String()).Scan(&n).Error)
			require.Zero(t, n, table)
		}
		var entries int64
		require.NoError(t, w.host.DB("user").Conn(ctx).Raw("SELECT count(*) FROM ledger_entries").Scan(&entries).Error)
		require.GreaterOrEqual(t, entries, int64(4))

		again, err := w.users.RegisterUserWithResponse(ctx, nil, userrest.RegisterUser{Email: email, Password: password, DisplayName: "Somebody else"})
		require.NoError(t, err)
		require.NotNil(t, again.JSON201, "%s", again.Body)
		other, as := w.login(t, email)
		require.NotEqual(t, id, other)
		mine, err := w.orders.ListOrdersWithResponse(ctx, nil, as)
		require.NoError(t, err)
		require.Empty(t, mine.JSON200.Items, "nothing of the former owner of the address is theirs")
		inbox, err := w.notes.ListNotificationsWithResponse(ctx, nil, as)
		require.NoError(t, err)
		for _, n := range inbox.JSON200.Items {
			require.Nil(t, n.OrderID)
		}
	})
}
