package domain

import (
	"time"

	"cleave/platform/fault"
)

// MaxStock is the highest stock that an administrator can give a product.
const MaxStock = 1_000_000_000

// Product is something that can be ordered.
type Product struct {
	ID          string
	SKU         string // the seller's own code; never changes
	Name        string
	Description string // plain text, may be empty
	Price       Money
	Stock       int64 // pieces that can still be ordered
	Active      bool  // on sale
	// Version grows with each change of the catalogue entry. The stock moves
	// without it, so that an edit does not fail because somebody bought.
	Version   int64
	CreatedAt time.Time
	UpdatedAt time.Time // of the entry or the stock
}

// Edit is a change of a catalogue entry; nil keeps a field.
type Edit struct {
	Name        *string
	Description *string
	Price       *Money
	Active      *bool
}

// Apply changes p, which must be at the given version; otherwise the fault is
// Stale, version_mismatch.
func (p *Product) Apply(e Edit, version int64, now time.Time) error {
	if p.Version != version {
		return fault.New(fault.Stale, "version_mismatch", "the product is at version %d, not %d", p.Version, version)
	}
	if e.Name != nil {
		p.Name = *e.Name
	}
	if e.Description != nil {
		p.Description = *e.Description
	}
	if e.Price != nil {
		p.Price = *e.Price
	}
	if e.Active != nil {
		p.Active = *e.Active
	}
	p.Version++
	p.UpdatedAt = now
	return nil
}

// Move adds delta pieces to the stock, or takes them away when it is negative.
// It fails with Unprocessable, delta_zero or stock_limit (above MaxStock), and
// with Conflict, out_of_stock below 0.
func (p *Product) Move(delta int64, now time.Time) error {
	switch {
	case delta == 0:
		return fault.New(fault.Unprocessable, "delta_zero", "the stock must change").
			With(fault.Field{Path: "/delta", Code: "delta_zero", Message: "must not be 0"})
	case delta < -p.Stock:
		return fault.New(fault.Conflict, "out_of_stock", "the stock is %d and cannot change by %d", p.Stock, delta)
	case delta > 0 && p.Stock > MaxStock-delta:
		return fault.New(fault.Unprocessable, "stock_limit", "the stock is %d and cannot rise above %d", p.Stock, MaxStock).
			With(fault.Field{Path: "/delta", Code: "stock_limit", Message: "is too large for the stock"})
	}
	p.Stock += delta
	p.UpdatedAt = now
	return nil
}
