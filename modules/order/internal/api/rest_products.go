package api

import (
	"context"
	"strconv"

	"cleave/modules/order/internal/app"
	"cleave/modules/order/internal/domain"
	"cleave/modules/order/internal/store"
	"cleave/platform/rest"
)

// ListProducts answers with a page of products.
func (s server) ListProducts(ctx context.Context, r ListProductsRequestObject) (ListProductsResponseObject, error) {
	const name = "listProducts"
	who, f := scope(ctx), store.ProductFilter{Text: rest.Deref(r.Params.Q), Active: r.Params.Active}
	filter := "all=" + strconv.FormatBool(who.All) + " q=" + strconv.Quote(f.Text)
	if f.Active != nil {
		filter += " active=" + strconv.FormatBool(*f.Active)
	}
	list, err := s.list(name, filter, r.Params.Limit, r.Params.Cursor)
	if err != nil {
		return nil, err
	}
	products, more, err := s.app.Products(ctx, who, f, list)
	if err != nil {
		return nil, err
	}
	page := ListProducts200JSONResponse{Items: make([]Product, len(products))}
	for i := range products {
		if page.Items[i], err = wireProduct(&products[i]); err != nil {
			return nil, err
		}
	}
	if more {
		page.NextCursor = s.next(name, filter, productPosition(products[len(products)-1]))
	}
	return page, nil
}

// GetProduct answers with one product.
func (s server) GetProduct(ctx context.Context, r GetProductRequestObject) (GetProductResponseObject, error) {
	p, err := s.app.Product(ctx, scope(ctx), r.ProductID.String())
	if err != nil {
		return nil, err
	}
	body, err := wireProduct(p)
	return GetProduct200JSONResponse{Body: body, Headers: GetProduct200ResponseHeaders{ETag: rest.ETag(p.Version)}}, err
}

// CreateProduct adds a product.
func (s server) CreateProduct(ctx context.Context, r CreateProductRequestObject) (CreateProductResponseObject, error) {
	p, err := s.app.CreateProduct(ctx, app.NewProduct{
		SKU: r.Body.SKU, Name: r.Body.Name, Description: rest.Deref(r.Body.Description), Price: domainMoney(r.Body.Price), Stock: r.Body.Stock,
	})
	if err != nil {
		return nil, err
	}
	body, err := wireProduct(p)
	return CreateProduct201JSONResponse{Body: body, Headers: CreateProduct201ResponseHeaders{
		ETag: rest.ETag(p.Version), Location: "/api/v1/products/" + p.ID,
	}}, err
}

// UpdateProduct changes a product's entry.
func (s server) UpdateProduct(ctx context.Context, r UpdateProductRequestObject) (UpdateProductResponseObject, error) {
	version, err := rest.ParseIfMatch(r.Params.IfMatch)
	if err != nil {
		return nil, err
	}
	edit := domain.Edit{Name: r.Body.Name, Description: r.Body.Description, Active: r.Body.Active}
	if r.Body.Price != nil {
		price := domainMoney(*r.Body.Price)
		edit.Price = &price
	}
	p, err := s.app.UpdateProduct(ctx, r.ProductID.String(), version, edit)
	if err != nil {
		return nil, err
	}
	body, err := wireProduct(p)
	return UpdateProduct200JSONResponse{Body: body, Headers: UpdateProduct200ResponseHeaders{ETag: rest.ETag(p.Version)}}, err
}

// AdjustStock changes a product's stock.
func (s server) AdjustStock(ctx context.Context, r AdjustStockRequestObject) (AdjustStockResponseObject, error) {
	p, err := s.app.AdjustStock(ctx, r.ProductID.String(), r.Body.Delta, rest.Deref(r.Body.Reason))
	if err != nil {
		return nil, err
	}
	body, err := wireProduct(p)
	return AdjustStock200JSONResponse{Body: body, Headers: AdjustStock200ResponseHeaders{ETag: rest.ETag(p.Version)}}, err
}
