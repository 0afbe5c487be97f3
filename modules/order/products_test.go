package order

import (
	"context"
	"fmt"
	"net/url"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	orderrest "cleave/modules/order/v1/rest"
)

func path(p orderrest.Product) string { return "/products/" + p.ID.String() }

// products reads all pages of the list of products.
func (c *caller) products(t testing.TB, query string) (names []string) {
	t.Helper()
	next := ""
	for {
		page := into[orderrest.ProductList](t, c.do(t, "GET", "/products?limit=2"+query+next, nil), 200)
		for _, p := range page.Items {
			names = append(names, p.Name)
		}
		if page.NextCursor == nil {
			return names
		}
		require.Len(t, page.Items, 2)
		next = "&cursor=" + *page.NextCursor
	}
}

func TestProducts(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		customer := w.customer(t, 0)
		t.Run("Create", func(t *testing.T) {
			t.Parallel()
			text := "A lamp.\nWith a clamp."
			new := orderrest.CreateProduct{SKU: "Create-1", Name: "Schöne Lampe", Description: &text, Price: euros(1299), Stock: 7}
			a := w.admin.do(t, "POST", "/products", new)
			p := into[orderrest.Product](t, a, 201)
			require.Equal(t, `"1"`, a.header.Get("ETag"))
			require.Equal(t, "/api/v1/products/"+p.ID.String(), a.header.Get("Location"))
			require.Equal(t, orderrest.Product{
				ID: p.ID, SKU: "Create-1", Name: "Schöne Lampe", Description: text, Price: euros(1299), Stock: 7, Active: true,
				Version: 1, CreatedAt: p.CreatedAt, UpdatedAt: p.CreatedAt,
			}, p)
			require.Equal(t, p, into[orderrest.Product](t, customer.do(t, "GET", path(p), nil), 200))
			refused(t, w.admin.do(t, "POST", "/products", new), 409, "sku_taken")
			for name, c := range map[string]struct {
				change func(*orderrest.CreateProduct)
				field  string
			}{
				"SKU":      {func(n *orderrest.CreateProduct) { n.SKU = "no spaces" }, "/sku"},
				"Name":     {func(n *orderrest.CreateProduct) { n.Name = " " }, "/name"},
				"Price":    {func(n *orderrest.CreateProduct) { n.Price.MinorUnits = -1 }, "/price/minor_units"},
				"TooDear":  {func(n *orderrest.CreateProduct) { n.Price.MinorUnits = 1_000_000_000_001 }, "/price/minor_units"},
				"Currency": {func(n *orderrest.CreateProduct) { n.Price.Currency = "eur" }, "/price/currency"},
				"Stock":    {func(n *orderrest.CreateProduct) { n.Stock = -1 }, "/stock"},
			} {
				bad := new
				bad.SKU = "Create-2"
				c.change(&bad)
				a := w.admin.do(t, "POST", "/products", bad)
				require.Equal(t, 422, a.status, "%s: %s", name, a.body)
				require.Equal(t, c.field, (*a.problem.Errors)[0].Field)
			}
		})
		t.Run("Update", func(t *testing.T) {
			t.Parallel()
			p := w.product(t, euros(1), 3)
			name, price, off := "Floor lamp", euros(5), false
			a := w.admin.do(t, "PATCH", path(p), orderrest.UpdateProduct{Name: &name, Price: &price}, "If-Match", `"1"`)
			changed := into[orderrest.Product](t, a, 200)
			require.Equal(t, `"2"`, a.header.Get("ETag"))
			p.Name, p.Price, p.Version, p.UpdatedAt = name, price, 2, changed.UpdatedAt
			require.Equal(t, p, changed)
			require.Equal(t, p, into[orderrest.Product](t, customer.do(t, "GET", path(p), nil), 200))

			edit := orderrest.UpdateProduct{Active: &off}
			refused(t, w.admin.do(t, "PATCH", path(p), edit), 428, "if_match_missing", "If-Match")
			refused(t, w.admin.do(t, "PATCH", path(p), edit, "If-Match", `"1"`), 412, "version_mismatch")
			refused(t, w.admin.do(t, "PATCH", path(orderrest.Product{ID: uuid.New()}), edit, "If-Match", `"1"`), 404, "product_not_found")
			require.Equal(t, 400, w.admin.do(t, "PATCH", path(p), edit, "If-Match", `*`).status)
			require.Equal(t, 422, w.admin.do(t, "PATCH", path(p), `{}`, "If-Match", `"2"`).status)
			require.Equal(t, p, into[orderrest.Product](t, w.admin.do(t, "GET", path(p), nil), 200), "nothing was written")

			hidden := into[orderrest.Product](t, w.admin.do(t, "PATCH", path(p), edit, "If-Match", `"2"`), 200)
			require.False(t, hidden.Active)
			refused(t, customer.do(t, "GET", path(p), nil), 404, "product_not_found")
			require.Equal(t, 200, w.admin.do(t, "GET", path(p), nil).status)
		})
		t.Run("UpdateTogether", func(t *testing.T) {
			t.Parallel()
			p := w.product(t, euros(1), 3)
			statuses := make([]int, 32)
			together(len(statuses), func(i int) {
				name := fmt.Sprint("Lamp ", i)
				a, _ := w.admin.try(context.Background(), "PATCH", path(p), orderrest.UpdateProduct{Name: &name}, "If-Match", `"1"`)
				statuses[i] = a.status
			})
			won := 0
			for _, s := range statuses {
				if s == 200 {
					won++
				} else {
					require.Equal(t, 412, s)
				}
			}
			require.Equal(t, 1, won)
		})
		t.Run("AdjustStock", func(t *testing.T) {
			t.Parallel()
			p := w.product(t, euros(1), 3)
			adjust := func(delta int64, headers ...string) answer {
				return w.admin.do(t, "POST", path(p)+"/stock", orderrest.AdjustStock{Delta: delta}, headers...)
			}
			a := adjust(4, "Idempotency-Key", "four more of "+p.SKU)
			require.Equal(t, `"1"`, a.header.Get("ETag"), "the entry has not changed")
			require.Equal(t, int64(7), into[orderrest.Product](t, a, 200).Stock)
			require.Equal(t, a.body, adjust(4, "Idempotency-Key", "four more of "+p.SKU).body)
			require.Equal(t, int64(0), into[orderrest.Product](t, adjust(-7), 200).Stock)
			refused(t, adjust(-1), 409, "out_of_stock")
			refused(t, adjust(0), 422, "delta_zero", "/delta")
			full := w.product(t, euros(1), 1_000_000_000)
			refused(t, w.admin.do(t, "POST", path(full)+"/stock", orderrest.AdjustStock{Delta: 1}), 422, "stock_limit", "/delta")
			refused(t, w.admin.do(t, "POST", path(orderrest.Product{ID: uuid.New()})+"/stock", orderrest.AdjustStock{Delta: 1}), 404, "product_not_found")
			require.Zero(t, w.stock(t, p))
		})
		t.Run("AdjustStockTogether", func(t *testing.T) {
			t.Parallel()
			p := w.product(t, euros(1), 16)
			statuses := make([]int, 32)
			together(len(statuses), func(i int) {
				a, _ := w.admin.try(context.Background(), "POST", path(p)+"/stock", orderrest.AdjustStock{Delta: -1})
				statuses[i] = a.status
			})
			taken := 0
			for _, s := range statuses {
				if s == 200 {
					taken++
				} else {
					require.Equal(t, 409, s)
				}
			}
			require.Equal(t, 16, taken)
			require.Zero(t, w.stock(t, p))
		})
	})
}

func TestListProducts(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		customer := w.customer(t, 0)
		off := false
		for i, name := range []string{"Ärmelbrett", "Desk 100%", "Desk 1000", "a_b", "axb", `back\slash`, "Hidden desk"} {
			p := into[orderrest.Product](t, w.admin.do(t, "POST", "/products", orderrest.CreateProduct{
				SKU: fmt.Sprint("Art-", i), Name: name, Price: euros(1), Stock: 1,
			}), 201)
			if name == "Hidden desk" {
				require.Equal(t, 200, w.admin.do(t, "PATCH", path(p), orderrest.UpdateProduct{Active: &off}, "If-Match", `"1"`).status)
			}
		}
		onSale := []string{`back\slash`, "axb", "a_b", "Desk 1000", "Desk 100%", "Ärmelbrett"}
		require.Equal(t, onSale, customer.products(t, ""))
		require.Equal(t, onSale, customer.products(t, "&active=true"))
		require.Equal(t, onSale, w.admin.products(t, "&active=true"))
		require.Equal(t, []string{"Hidden desk"}, w.admin.products(t, "&active=false"))
		require.Equal(t, append([]string{"Hidden desk"}, onSale...), w.admin.products(t, ""))
		refused(t, customer.do(t, "GET", "/products?active=false", nil), 403, "forbidden", "active")

		for q, names := range map[string][]string{
			"dESK":   {"Desk 1000", "Desk 100%"},
			"100%":   {"Desk 100%"},
			"A_B":    {"a_b"},
			`k\s`:    {`back\slash`},
			"ärmel":  {"Ärmelbrett"},
			"ÄRMEL":  {"Ärmelbrett"},
			"art-3":  {"a_b"},
			"nobody": nil,
		} {
			require.Equal(t, names, customer.products(t, "&q="+url.QueryEscape(q)), q)
		}
		cursor := *into[orderrest.ProductList](t, w.admin.do(t, "GET", "/products?limit=1&q=desk", nil), 200).NextCursor
		refused(t, w.admin.do(t, "GET", "/products?limit=1&q=des&cursor="+cursor, nil), 400, "cursor_invalid", "cursor")
		refused(t, customer.do(t, "GET", "/products?limit=1&q=desk&cursor="+cursor, nil), 400, "cursor_invalid", "cursor")
		require.Equal(t, 200, w.admin.do(t, "GET", "/products?limit=100&q=desk&cursor="+cursor, nil).status)
	})
}
