package chaos_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	orderrest "cleave/modules/order/v1/rest"
	userrest "cleave/modules/user/v1/rest"
)

// intent is an order that a customer wants, told apart from all others of the
// customer by the number of lamps, and what the server has said to it.
type intent struct {
	buyer     *customer
	lamps     int64
	chairs    int64
	key       string
	id        uuid.UUID // of the acknowledged order; Nil: there is none
	refused   string    // the code of the definite refusal
	cancelled bool      // acknowledged
	rank      int       // of the last status that was seen
}

func (i *intent) String() string {
	return fmt.Sprintf("the order of %d lamps by %s (key %s)", i.lamps, i.buyer.email, i.key)
}

// customer places orders, looks after them, and sometimes thinks better of it.
type customer struct {
	*client
	mu      sync.Mutex
	intents []*intent
	names   []string // each display name that the server has acknowledged, in order
}

// run goes on until the shop closes.
func (c *customer) run() {
	for n := int64(1); !c.shop.closed(); n++ {
		switch k := c.rand.IntN(100); {
		case k < 50:
			i := &intent{buyer: c, lamps: n, key: fmt.Sprintf("%s-%d", c.email, n)}
			if c.rand.IntN(3) == 0 {
				i.chairs = 1 + c.rand.Int64N(3)
			}
			c.mu.Lock()
			c.intents = append(c.intents, i)
			c.mu.Unlock()
			c.place(i)
		case k < 65:
			c.cancel(c.any())
		case k < 75:
			// Several at once, so that some wait together.
			for i := range 1 + c.rand.IntN(5) {
				c.rename(fmt.Sprintf("Ada the %dth and %d", n, i))
			}
		default:
			c.look(c.any())
		}
	}
}

// any is one of the customer's acknowledged orders, often a late one, or nil.
func (c *customer) any() *intent {
	n := len(c.intents)
	if n == 0 {
		return nil
	}
	i := c.intents[n-1-c.rand.IntN(min(n, 12))]
	if i.id == uuid.Nil {
		return nil
	}
	return i
}

func (c *customer) place(i *intent) {
	body := orderrest.PlaceOrder{Lines: []orderrest.PlaceOrderLine{{ProductID: c.shop.lamp, Quantity: i.lamps}}}
	if i.chairs > 0 {
		body.Lines = append(body.Lines, orderrest.PlaceOrderLine{ProductID: c.shop.chair, Quantity: i.chairs})
	}
	for {
		a := ask(c.client, "place "+i.String(), func(ctx context.Context, a api) (*orderrest.PlaceOrderResponse, error) {
			return a.orders.PlaceOrderWithResponse(ctx, &orderrest.PlaceOrderParams{IdempotencyKey: &i.key}, body)
		})
		switch {
		case a.status == http.StatusCreated:
			o, err := decode[orderrest.Order](a.body)
			if err != nil || o.Lines[0].Quantity != i.lamps || o.BuyerID != c.id {
				c.shop.findings.add("%s is answered with another order: %s", i, a.body)
				return
			}
			i.id = o.ID
			return
		case a.status == http.StatusForbidden && !c.shop.over():
			// Disabled for now. The first try may have come through before.
			time.Sleep(50 * time.Millisecond)
			c.logIn()
			continue
		case a.status == http.StatusConflict && a.code == "out_of_stock", a.status == 0:
			i.refused = a.code
		default:
			c.shop.findings.add("%s is refused: %d %s", i, a.status, a.body)
		}
		return
	}
}

// cancel calls an order off, if it is not on its way.
func (c *customer) cancel(i *intent) {
	if i == nil || i.cancelled {
		return
	}
	key := i.key + "-cancel"
	a := ask(c.client, "cancel "+i.String(), func(ctx context.Context, a api) (*orderrest.CancelOrderResponse, error) {
		return a.orders.CancelOrderWithResponse(ctx, i.id, &orderrest.CancelOrderParams{IdempotencyKey: &key}, orderrest.CancelOrder{})
	})
	switch {
	case a.status == http.StatusOK:
		i.cancelled = true
	case a.status == http.StatusConflict, a.status == http.StatusForbidden, a.status == 0:
	default:
		c.shop.findings.add("cancelling %s is refused: %d %s", i, a.status, a.body)
	}
}

// ranks orders the states of an order by how far it is.
var ranks = []orderrest.OrderStatus{"pending", "confirmed", "shipped", "delivered", "rejected", "cancelled"}

// look reads an order, which must be there, and no less far than before.
func (c *customer) look(i *intent) {
	if i == nil {
		return
	}
	a := ask(c.client, "read "+i.String(), func(ctx context.Context, a api) (*orderrest.GetOrderResponse, error) {
		return a.orders.GetOrderWithResponse(ctx, i.id)
	})
	switch a.status {
	case http.StatusForbidden, 0:
		return
	case http.StatusOK:
	default:
		c.shop.findings.add("%s was acknowledged as %s, and reading it says %d %s", i, i.id, a.status, a.body)
		return
	}
	o, err := decode[orderrest.Order](a.body)
	if err != nil {
		c.shop.findings.add("%s cannot be read: %s", i, a.body)
		return
	}
	rank := slices.Index(ranks, o.Status)
	if rank < i.rank || i.cancelled && o.Status != "cancelled" {
		c.shop.findings.add("%s, %s, is %s after it was %s (cancelled: %v)", i, i.id, o.Status, ranks[i.rank], i.cancelled)
	}
	i.rank = rank
}

// rename gives the customer a new display name, which is an event of which many
// have one key. A lost answer is told by the name itself.
func (c *customer) rename(name string) {
	for !c.shop.over() {
		now := ask(c.client, "read the profile", func(ctx context.Context, a api) (*userrest.GetProfileResponse, error) {
			return a.users.GetProfileWithResponse(ctx)
		})
		if now.status != http.StatusOK {
			return
		}
		u, err := decode[userrest.User](now.body)
		if err != nil {
			c.shop.findings.add("the profile of %s cannot be read: %s", c.email, now.body)
			return
		}
		if u.DisplayName == name {
			c.names = append(c.names, name)
			return
		}
		version := fmt.Sprintf("%q", fmt.Sprint(u.Version))
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		_, _ = c.apis[c.at].users.UpdateProfileWithResponse(ctx, &userrest.UpdateProfileParams{IfMatch: version}, userrest.UpdateProfile{DisplayName: &name})
		cancel()
	}
}
