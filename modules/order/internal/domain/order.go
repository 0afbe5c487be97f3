// Package domain holds the rules of the catalogue and of orders: prices, stock
// at the moment of ordering, totals, and the states that an order goes through.
package domain

import (
	"fmt"
	"time"

	"cleave/platform/fault"
)

// Limits of one order, as in the module's contracts.
const (
	MaxLines    = 100
	MaxQuantity = 10_000 // pieces of one line
)

// Order is what a buyer ordered and where it stands.
type Order struct {
	ID           string
	Number       string // what people know the order by
	BuyerID      string
	Status       Status
	Lines        []Line
	Total        Money
	Reason       string // why it was rejected or cancelled; may be empty
	TrackingCode string // the carrier's code; may be empty
	Version      int64
	CreatedAt    time.Time
	UpdatedAt    time.Time
}

// Line is one product of an order, as it was when the order was placed.
type Line struct {
	ProductID string
	SKU       string
	Name      string
	Quantity  int64
	UnitPrice Money
}

// Total is what the line costs. It fits, because Place has checked it.
func (l Line) Total() Money {
	return Money{MinorUnits: l.UnitPrice.MinorUnits * l.Quantity, Currency: l.UnitPrice.Currency}
}

// Wanted is a line of an order before it is placed.
type Wanted struct {
	ProductID string
	Quantity  int64
}

// Place makes a pending order at the catalogue's prices. The catalogue holds the
// known ones of the wanted products, by id.
//
// It fails, naming each line at fault by a JSON pointer into the request: with
// Unprocessable, line_count, quantity_range, duplicate_product, product_unknown,
// product_inactive, mixed_currencies or amount_overflow; with Conflict,
// out_of_stock.
func Place(id, buyerID string, wanted []Wanted, catalogue map[string]Product, now time.Time) (*Order, error) {
	if err := checkWanted(wanted); err != nil {
		return nil, err
	}
	lines, err := price(wanted, catalogue)
	if err != nil {
		return nil, err
	}
	total := Money{Currency: lines[0].UnitPrice.Currency}
	for i, l := range lines {
		cost, err := l.UnitPrice.Times(l.Quantity)
		if err == nil {
			total, err = total.Add(cost)
		}
		if err != nil {
			f := fault.From(err)
			return nil, f.With(field(i, "quantity", f.Code, f.Message))
		}
	}
	return &Order{
		ID: id, Number: Number(id), BuyerID: buyerID, Status: Pending, Lines: lines, Total: total,
		Version: 1, CreatedAt: now, UpdatedAt: now,
	}, nil
}

// checkWanted checks what needs no catalogue.
func checkWanted(wanted []Wanted) error {
	if len(wanted) == 0 || len(wanted) > MaxLines {
		return fault.New(fault.Unprocessable, "line_count", "an order has 1 to %d lines", MaxLines).
			With(fault.Field{Path: "/lines", Code: "line_count", Message: fmt.Sprintf("must have 1 to %d items", MaxLines)})
	}
	var bad, repeated []fault.Field
	first := make(map[string]int, len(wanted))
	for i, w := range wanted {
		if w.Quantity < 1 || w.Quantity > MaxQuantity {
			bad = append(bad, field(i, "quantity", "quantity_range", fmt.Sprintf("must be 1 to %d", MaxQuantity)))
		}
		if j, ok := first[w.ProductID]; ok {
			repeated = append(repeated, field(i, "product_id", "duplicate_product", fmt.Sprintf("is the product of line %d too", j)))
		} else {
			first[w.ProductID] = i
		}
	}
	switch {
	case bad != nil:
		return fault.New(fault.Unprocessable, "quantity_range", "a quantity is out of range").With(bad...)
	case repeated != nil:
		return fault.New(fault.Unprocessable, "duplicate_product", "a product may be in one line only").With(repeated...)
	default:
		return nil
	}
}

// price turns what is wanted into lines at the catalogue's prices.
func price(wanted []Wanted, catalogue map[string]Product) ([]Line, error) {
	lines := make([]Line, len(wanted))
	var unsold, foreign, short []fault.Field
	for i, w := range wanted {
		p, ok := catalogue[w.ProductID]
		switch {
		case !ok:
			unsold = append(unsold, field(i, "product_id", "product_unknown", "is no product"))
			continue
		case !p.Active:
			unsold = append(unsold, field(i, "product_id", "product_inactive", "is not on sale"))
			continue
		case p.Stock < w.Quantity:
			short = append(short, field(i, "quantity", "out_of_stock", fmt.Sprintf("exceeds the stock of %d", p.Stock)))
		}
		lines[i] = Line{ProductID: p.ID, SKU: p.SKU, Name: p.Name, Quantity: w.Quantity, UnitPrice: p.Price}
		if c := lines[0].UnitPrice.Currency; c != "" && c != p.Price.Currency {
			foreign = append(foreign, field(i, "product_id", "mixed_currencies", fmt.Sprintf("is priced in %s, not %s", p.Price.Currency, c)))
		}
	}
	switch {
	case unsold != nil:
		return nil, fault.New(fault.Unprocessable, unsold[0].Code, "%d of %d products cannot be ordered", len(unsold), len(wanted)).With(unsold...)
	case foreign != nil:
		return nil, fault.New(fault.Unprocessable, "mixed_currencies", "the products of an order must be priced in one currency").With(foreign...)
	case short != nil:
		return nil, fault.New(fault.Conflict, "out_of_stock", "the stock does not suffice for %d of %d lines", len(short), len(wanted)).With(short...)
	default:
		return lines, nil
	}
}

// field names a member of a line of the request.
func field(line int, member, code, message string) fault.Field {
	return fault.Field{Path: fmt.Sprintf("/lines/%d/%s", line, member), Code: code, Message: message}
}

// Cancel calls the order off; reason may be empty.
func (o *Order) Cancel(reason string, now time.Time) error {
	if err := o.become(Cancelled, now); err != nil {
		return err
	}
	o.Reason = reason
	return nil
}

// Ship marks the order as under way; the carrier's code may be empty.
func (o *Order) Ship(trackingCode string, now time.Time) error {
	if err := o.become(Shipped, now); err != nil {
		return err
	}
	o.TrackingCode = trackingCode
	return nil
}

// Deliver marks the order as arrived.
func (o *Order) Deliver(now time.Time) error { return o.become(Delivered, now) }

// become moves to the next state, or returns a Conflict, order_transition.
func (o *Order) become(next Status, now time.Time) error {
	if err := o.Status.become(next); err != nil {
		return err
	}
	o.Status, o.UpdatedAt = next, now
	o.Version++
	return nil
}
