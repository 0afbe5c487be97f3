package demo

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	orderrest "cleave/modules/order/v1/rest"
	userrest "cleave/modules/user/v1/rest"
	"cleave/platform/fault"
)

// together is how many customers register at once: the server hashes passwords
// a few at a time, so more would only wait.
const together = 4

// maxAdjustment is the most pieces that one change of stock may add.
const maxAdjustment = 1_000_000

// run is a run that can begin.
type run struct {
	o        *options
	plan     plan
	api      *api
	admin    *session
	buyers   []*session
	products []orderrest.Product
	stats    *stats
}

// prepare brings the server to where every planned order meets its fate.
func prepare(ctx context.Context, o *options, dataDir string, out *screen) (*run, error) {
	a, err := newAPI(ctx, o.url)
	if err != nil {
		return nil, err
	}
	r := &run{o: o, api: a, stats: newStats()}
	if r.admin, err = a.administrator(ctx, o, dataDir, out); err != nil {
		return nil, err
	}
	account, err := r.api.users.GetCreditWithResponse(ctx, r.admin.id, r.admin.authorise)
	if err != nil || account.JSON200 == nil {
		return nil, refusal("read the administrator's credit", account, err)
	}
	currency := account.JSON200.Currency
	out.show("filling the catalogue")
	if r.products, err = r.catalogue(ctx, currency); err != nil {
		return nil, err
	}
	r.plan = plan{seed: o.seed, orders: o.orders(), buyers: o.users, products: len(r.products)}
	prices := make([]int64, len(r.products))
	for i, p := range r.products {
		prices[i] = p.Price.MinorUnits
	}
	pieces, credit := r.plan.needs(prices)
	for i, p := range r.products {
		if err := r.stockUp(ctx, p, pieces[i]-p.Stock); err != nil {
			return nil, err
		}
	}
	return r, r.register(ctx, credit, currency, out)
}

// stockUp adds pieces to a product; none for a number that is not positive.
func (r *run) stockUp(ctx context.Context, p orderrest.Product, lacking int64) error {
	reason := "demo"
	for ; lacking > 0; lacking -= maxAdjustment {
		resp, err := r.api.orders.AdjustStockWithResponse(ctx, p.ID, &orderrest.AdjustStockParams{IdempotencyKey: newKey()},
			orderrest.AdjustStock{Delta: min(lacking, maxAdjustment), Reason: &reason}, r.admin.authorise)
		if err != nil || resp.JSON200 == nil {
			return refusal("stock up "+p.SKU, resp, err)
		}
	}
	return nil
}

// register makes the customers, each with the credit that its orders need.
func (r *run) register(ctx context.Context, credit []int64, currency string, out *screen) error {
	id := uuid.NewString()[:8] // tells this run's customers from those of others
	r.buyers = make([]*session, r.o.users)
	var done atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(together)
	for i := range r.buyers {
		g.Go(func() (err error) {
			email, name := fmt.Sprintf("demo-%s-%d@example.com", id, i+1), fmt.Sprintf("Demo Customer %d", i+1)
			if r.buyers[i], err = r.customer(ctx, email, name); err != nil {
				return err
			}
			if n := done.Add(1); n%10 == 0 || int(n) == len(r.buyers) {
				out.show("registered %d of %d customers", n, len(r.buyers))
			}
			return r.topUp(ctx, r.buyers[i].id, userrest.Money{MinorUnits: credit[i], Currency: currency})
		})
	}
	return g.Wait()
}

func (r *run) customer(ctx context.Context, email, name string) (*session, error) {
	password := uuid.NewString()
	resp, err := r.api.users.RegisterUserWithResponse(ctx, &userrest.RegisterUserParams{IdempotencyKey: newKey()},
		userrest.RegisterUser{Email: email, Password: password, DisplayName: name})
	if err != nil || resp.JSON201 == nil {
		return nil, refusal("register "+email, resp, err)
	}
	return r.api.logIn(ctx, email, password)
}

func (r *run) topUp(ctx context.Context, user uuid.UUID, amount userrest.Money) error {
	if amount.MinorUnits == 0 {
		return nil
	}
	note := "demo"
	resp, err := r.api.users.TopUpCreditWithResponse(ctx, user, &userrest.TopUpCreditParams{IdempotencyKey: newKey()},
		userrest.TopUpCredit{Amount: amount, Note: &note}, r.admin.authorise)
	if err != nil || resp.JSON201 == nil {
		return refusal("top up a customer's credit", resp, err)
	}
	return nil
}

// catalogue returns the demo's products, and adds those that are missing.
// Products that were taken off sale or given away since are left out.
func (r *run) catalogue(ctx context.Context, currency string) ([]orderrest.Product, error) {
	var products []orderrest.Product
	for i, item := range []struct {
		name  string
		price int64
	}{
		{"Desk lamp", 3900},
		{"Notebook, dotted", 950},
		{"Fountain pen", 5400},
		{"Ink, blue-black", 1250},
		{"Desk pad", 2900},
		{"Letter tray", 1790},
		{"Stapler", 1490},
		{"Paper, 500 sheets", 690},
		{"Bookend, pair", 2250},
		{"Waste basket", 1990},
		{"Wall clock", 3490},
		{"Office chair", 18900},
	} {
		p, err := r.product(ctx, orderrest.CreateProduct{
			SKU: fmt.Sprintf("DEMO-%s-%02d", currency, i+1), Name: item.name, Price: orderrest.Money{MinorUnits: item.price, Currency: currency},
		})
		if err != nil {
			return nil, err
		}
		if p.Active && p.Price.Currency == currency && p.Price.MinorUnits > 0 {
			products = append(products, p)
		}
	}
	if len(products) == 0 {
		return nil, fault.New(fault.Conflict, "no_products", "none of the demo's products is on sale any more")
	}
	return products, nil
}

// product adds a product, or finds the one with its SKU.
func (r *run) product(ctx context.Context, want orderrest.CreateProduct) (orderrest.Product, error) {
	created, err := r.api.orders.CreateProductWithResponse(ctx, &orderrest.CreateProductParams{IdempotencyKey: newKey()}, want, r.admin.authorise)
	if err == nil && created.JSON201 != nil {
		return *created.JSON201, nil
	}
	if err != nil || problemOf(created.Body).Code != "sku_taken" {
		return orderrest.Product{}, refusal("add "+want.SKU, created, err)
	}
	found, err := r.api.orders.ListProductsWithResponse(ctx, &orderrest.ListProductsParams{Q: &want.SKU}, r.admin.authorise)
	if err != nil || found.JSON200 == nil {
		return orderrest.Product{}, refusal("look up "+want.SKU, found, err)
	}
	for _, p := range found.JSON200.Items {
		if p.SKU == want.SKU {
			return p, nil
		}
	}
	return orderrest.Product{}, fault.New(fault.Conflict, "sku_taken", "the SKU %s is taken by a product that cannot be found", want.SKU)
}
