package app

import (
	"context"
	"strconv"

	"cleave/modules/order/internal/domain"
	"cleave/modules/order/internal/store"
	"cleave/platform/fault"
)

// NewProduct is what a catalogue entry begins with.
type NewProduct struct {
	SKU, Name, Description string
	Price                  domain.Money
	Stock                  int64
}

// CreateProduct adds a product and puts it on sale. A SKU in use is a
// Conflict, sku_taken.
func (a *App) CreateProduct(ctx context.Context, n NewProduct) (*domain.Product, error) {
	now := a.now()
	p := &domain.Product{
		ID: a.NewID(), SKU: n.SKU, Name: n.Name, Description: n.Description, Price: n.Price, Stock: n.Stock,
		Active: true, Version: 1, CreatedAt: now, UpdatedAt: now,
	}
	err := a.DB.Tx(ctx, func(ctx context.Context) error {
		if err := a.Store.InsertProduct(ctx, p); err != nil {
			return err
		}
		return a.audited(ctx, "order:product:create", "product/"+p.ID, map[string]string{"sku": p.SKU})
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// UpdateProduct changes the entry of a product that is at the given version. It
// fails with NotFound, or Stale when it is at another one.
func (a *App) UpdateProduct(ctx context.Context, id string, version int64, e domain.Edit) (*domain.Product, error) {
	return a.changeProduct(ctx, id, func(ctx context.Context, p *domain.Product) error {
		if err := p.Apply(e, version, a.now()); err != nil {
			return err
		}
		if err := a.Store.UpdateProduct(ctx, p); err != nil {
			return err
		}
		return a.audited(ctx, "order:product:update", "product/"+p.ID, map[string]string{"version": strconv.FormatInt(p.Version, 10)})
	})
}

// AdjustStock adds delta pieces to a product's stock, or takes them away when
// it is negative; why is for the audit log. It fails with NotFound, with Conflict,
// out_of_stock below 0, and with Unprocessable, delta_zero or stock_limit.
func (a *App) AdjustStock(ctx context.Context, id string, delta int64, why string) (*domain.Product, error) {
	return a.changeProduct(ctx, id, func(ctx context.Context, p *domain.Product) error {
		if err := p.Move(delta, a.now()); err != nil {
			return err
		}
		if err := a.Store.MoveStock(ctx, map[string]int64{p.ID: delta}, p.UpdatedAt); err != nil {
			return err
		}
		return a.audited(ctx, "order:product:adjust_stock", "product/"+p.ID,
			map[string]string{"delta": strconv.FormatInt(delta, 10), "reason": why})
	})
}

// changeProduct runs change on a product that nobody else can change meanwhile.
func (a *App) changeProduct(ctx context.Context, id string, change func(context.Context, *domain.Product) error) (*domain.Product, error) {
	var p domain.Product
	err := a.DB.Tx(ctx, func(ctx context.Context) (err error) {
		var known bool
		if p, known, err = a.Store.LockProduct(ctx, id); err != nil {
			return err
		}
		if !known {
			return errNoProduct()
		}
		return change(ctx, &p)
	})
	if err != nil {
		return nil, err
	}
	return &p, nil
}

// Product reads one product. One that is not on sale is NotFound without the
// right to all.
func (a *App) Product(ctx context.Context, scope Scope, id string) (*domain.Product, error) {
	p, known, err := a.Store.Product(ctx, id)
	if err != nil {
		return nil, err
	}
	if !known || (!p.Active && !scope.All) {
		return nil, errNoProduct()
	}
	return &p, nil
}

// Products lists products, the newest first. Without the right to all, only
// those on sale are listed, and a filter for the others is Forbidden.
func (a *App) Products(ctx context.Context, scope Scope, f store.ProductFilter, list List) (products []domain.Product, more bool, err error) {
	if !scope.All {
		if f.Active != nil && !*f.Active {
			return nil, false, fault.New(fault.Forbidden, "", "only products on sale are yours to see").
				With(fault.Field{Path: "active", Code: "forbidden", Message: "must be true or left out"})
		}
		onSale := true
		f.Active = &onSale
	}
	if products, err = a.Store.Products(ctx, f, list.page()); err != nil {
		return nil, false, err
	}
	products, more = cut(products, list.Limit)
	return products, more, nil
}
