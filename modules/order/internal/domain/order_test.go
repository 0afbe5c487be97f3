package domain_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cleave/modules/order/internal/domain"
	"cleave/platform/fault"
)

var now = time.Date(2026, 11, 23, 9, 30, 0, 0, time.UTC)

const orderID = "0197a5c5-2c7d-7b60-9e1f-6a4b8d0c2e55"

func catalogue() map[string]domain.Product {
	eur := func(id string, price, stock int64) domain.Product {
		return domain.Product{ID: id, SKU: "SKU-" + id, Name: "Product " + id, Price: domain.Money{MinorUnits: price, Currency: "EUR"}, Stock: stock, Active: true}
	}
	c := map[string]domain.Product{
		"lamp": eur("lamp", 1299, 10), "free": eur("free", 0, 10), "gold": eur("gold", domain.MaxAmount, 10), "old": eur("old", 1, 10),
	}
	old, dollar := c["old"], eur("dollar", 5, 10)
	old.Active, dollar.Price.Currency = false, "USD"
	c["old"], c["dollar"] = old, dollar
	return c
}

func TestPlace(t *testing.T) {
	t.Parallel()
	o, err := domain.Place(orderID, "buyer", []domain.Wanted{{"lamp", 2}, {"free", 10}}, catalogue(), now)
	require.NoError(t, err)
	require.Equal(t, &domain.Order{
		ID: orderID, Number: domain.Number(orderID), BuyerID: "buyer", Status: domain.Pending, Version: 1, CreatedAt: now, UpdatedAt: now,
		Lines: []domain.Line{
			{ProductID: "lamp", SKU: "SKU-lamp", Name: "Product lamp", Quantity: 2, UnitPrice: domain.Money{MinorUnits: 1299, Currency: "EUR"}},
			{ProductID: "free", SKU: "SKU-free", Name: "Product free", Quantity: 10, UnitPrice: domain.Money{MinorUnits: 0, Currency: "EUR"}},
		},
		Total: domain.Money{MinorUnits: 2598, Currency: "EUR"},
	}, o)

	many := make([]domain.Wanted, domain.MaxLines+1)
	for i := range many {
		many[i] = domain.Wanted{ProductID: fmt.Sprint(i), Quantity: 1}
	}
	for name, c := range map[string]struct {
		wanted []domain.Wanted
		kind   fault.Kind
		code   string
		paths  []string
	}{
		"NoLines":         {nil, fault.Unprocessable, "line_count", []string{"/lines"}},
		"TooManyLines":    {many, fault.Unprocessable, "line_count", []string{"/lines"}},
		"NoPieces":        {[]domain.Wanted{{"lamp", 1}, {"free", 0}}, fault.Unprocessable, "quantity_range", []string{"/lines/1/quantity"}},
		"TooManyPieces":   {[]domain.Wanted{{"lamp", domain.MaxQuantity + 1}}, fault.Unprocessable, "quantity_range", []string{"/lines/0/quantity"}},
		"Twice":           {[]domain.Wanted{{"lamp", 1}, {"free", 1}, {"lamp", 1}}, fault.Unprocessable, "duplicate_product", []string{"/lines/2/product_id"}},
		"Unknown":         {[]domain.Wanted{{"none", 1}, {"lamp", 1}}, fault.Unprocessable, "product_unknown", []string{"/lines/0/product_id"}},
		"Inactive":        {[]domain.Wanted{{"lamp", 1}, {"old", 1}, {"none", 1}}, fault.Unprocessable, "product_inactive", []string{"/lines/1/product_id", "/lines/2/product_id"}},
		"MixedCurrencies": {[]domain.Wanted{{"lamp", 1}, {"dollar", 1}}, fault.Unprocessable, "mixed_currencies", []string{"/lines/1/product_id"}},
		"OutOfStock":      {[]domain.Wanted{{"lamp", 11}, {"free", 1}}, fault.Conflict, "out_of_stock", []string{"/lines/0/quantity"}},
		"LineOverflow":    {[]domain.Wanted{{"gold", 2}}, fault.Unprocessable, "amount_overflow", []string{"/lines/0/quantity"}},
		"TotalOverflow":   {[]domain.Wanted{{"gold", 1}, {"lamp", 1}}, fault.Unprocessable, "amount_overflow", []string{"/lines/1/quantity"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, err := domain.Place(orderID, "buyer", c.wanted, catalogue(), now)
			require.Nil(t, o)
			f := fault.From(err)
			require.Equal(t, c.kind, f.Kind)
			require.Equal(t, c.code, f.Code)
			var paths []string
			for _, field := range f.Fields {
				paths = append(paths, field.Path)
			}
			require.Equal(t, c.paths, paths)
		})
	}
}

func TestTransitions(t *testing.T) {
	t.Parallel()
	may := map[domain.Status][]domain.Status{
		domain.Pending:   {domain.Confirmed, domain.Rejected, domain.Cancelled},
		domain.Confirmed: {domain.Shipped, domain.Cancelled},
		domain.Shipped:   {domain.Delivered},
	}
	all := []domain.Status{domain.Pending, domain.Confirmed, domain.Rejected, domain.Shipped, domain.Delivered, domain.Cancelled}
	do := map[domain.Status]func(*domain.Order) error{
		domain.Cancelled: func(o *domain.Order) error { return o.Cancel("why", now) },
		domain.Shipped:   func(o *domain.Order) error { return o.Ship("code", now) },
		domain.Delivered: func(o *domain.Order) error { return o.Deliver(now) },
	}
	for _, from := range all {
		for _, to := range all {
			legal := false
			for _, s := range may[from] {
				legal = legal || s == to
			}
			listed := false
			for _, s := range to.From() {
				listed = listed || s == from
			}
			require.Equal(t, legal, listed, "%s to %s", from, to)
			if do[to] == nil {
				continue
			}
			o := &domain.Order{Status: from, Version: 3}
			err := do[to](o)
			if legal {
				require.NoError(t, err)
				require.Equal(t, to, o.Status)
				require.Equal(t, int64(4), o.Version)
				require.Equal(t, now, o.UpdatedAt)
				continue
			}
			f := fault.From(err)
			require.Equal(t, fault.Conflict, f.Kind)
			require.Equal(t, "order_transition", f.Code)
			require.Contains(t, f.Message, string(from))
			require.Contains(t, f.Message, string(to))
			require.Equal(t, &domain.Order{Status: from, Version: 3}, o)
		}
	}
}

func TestNumber(t *testing.T) {
	t.Parallel()
	require.Equal(t, "O-CQMQ2JR-ZDP0Y3X", domain.Number(orderID))
	require.Regexp(t, `^[A-Z0-9][A-Z0-9-]*$`, domain.Number(orderID))
	earlier := "0197a5c5-2c7c-7fff-bfff-ffffffffffff"
	require.Less(t, domain.Number(earlier), domain.Number(orderID))
	require.Empty(t, domain.Number("no-uuid"))
}
