package store

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"gorm.io/gorm"

	"cleave/modules/order/internal/domain"
	"cleave/platform/db"
)

type productRow struct {
	ID          string
	SKU         string
	Name        string
	Description string
	SearchText  string
	PriceMinor  int64
	Currency    string
	Stock       int64
	Active      bool
	Version     int64
	CreatedAt   int64 `gorm:"autoCreateTime:false"`
	UpdatedAt   int64 `gorm:"autoUpdateTime:false"`
}

func (productRow) TableName() string { return "products" }

func (r productRow) product() domain.Product {
	return domain.Product{
		ID: r.ID, SKU: r.SKU, Name: r.Name, Description: r.Description,
		Price: domain.Money{MinorUnits: r.PriceMinor, Currency: r.Currency},
		Stock: r.Stock, Active: r.Active, Version: r.Version,
		CreatedAt: db.FromMicros(r.CreatedAt), UpdatedAt: db.FromMicros(r.UpdatedAt),
	}
}

// searchText is what a search for part of a SKU or a name looks through. The
// case is folded here, because SQLite folds ASCII only.
func searchText(p *domain.Product) string { return strings.ToLower(p.SKU + "\n" + p.Name) }

const productColumns = "id, sku, name, description, price_minor, currency, stock, active, version, created_at, updated_at"

// columns are the fields of productColumns.
func (r *productRow) columns() []any {
	return []any{
		&r.ID, &r.SKU, &r.Name, &r.Description, &r.PriceMinor, &r.Currency, &r.Stock, &r.Active, &r.Version, &r.CreatedAt, &r.UpdatedAt,
	}
}

// InsertProduct queues a new product.
func (s *Store) InsertProduct(ctx context.Context, p *domain.Product) error {
	return s.db.Queue(ctx).Create(&productRow{
		ID: p.ID, SKU: p.SKU, Name: p.Name, Description: p.Description, SearchText: searchText(p),
		PriceMinor: p.Price.MinorUnits, Currency: p.Price.Currency, Stock: p.Stock, Active: p.Active,
		Version: p.Version, CreatedAt: db.Micros(p.CreatedAt), UpdatedAt: db.Micros(p.UpdatedAt),
	}).Error
}

// UpdateProduct queues the catalogue entry of p; the stock stays as it is. The
// caller holds the row by LockProduct.
func (s *Store) UpdateProduct(ctx context.Context, p *domain.Product) error {
	return s.db.Queue(ctx).Exec(`UPDATE products SET name = ?, description = ?, search_text = ?, price_minor = ?, currency = ?, active = ?,
		version = ?, updated_at = ? WHERE id = ?`,
		p.Name, p.Description, searchText(p), p.Price.MinorUnits, p.Price.Currency, p.Active, p.Version, db.Micros(p.UpdatedAt), p.ID).Error
}

// Product reads one product; false when there is none.
func (s *Store) Product(ctx context.Context, id string) (domain.Product, bool, error) {
	return s.product(ctx, "SELECT "+productColumns+" FROM products WHERE id = ?", id)
}

// LockProduct reads one product and keeps others from changing it until the
// transaction ends.
func (s *Store) LockProduct(ctx context.Context, id string) (domain.Product, bool, error) {
	return s.product(ctx, "SELECT "+productColumns+" FROM products WHERE id = ?"+s.lock("products"), id)
}

func (s *Store) product(ctx context.Context, query, id string) (domain.Product, bool, error) {
	rows, err := db.Select(ctx, s.db, (*productRow).columns, query, id)
	if err != nil || len(rows) == 0 {
		return domain.Product{}, false, err
	}
	return rows[0].product(), true, nil
}

// Catalogue reads what ordering needs to know of the given products: all but
// description and times. Unknown ids are left out.
func (s *Store) Catalogue(ctx context.Context, ids []string) (map[string]domain.Product, error) {
	var rows []productRow
	err := s.db.Conn(ctx).Raw("SELECT id, sku, name, price_minor, currency, stock, active FROM products WHERE id IN ?", ids).Scan(&rows).Error
	if err != nil {
		return nil, err
	}
	products := make(map[string]domain.Product, len(rows))
	for _, r := range rows {
		products[r.ID] = r.product()
	}
	return products, nil
}

// ProductFilter chooses products; the zero value chooses all.
type ProductFilter struct {
	Text   string // part of the SKU or the name, in any case
	Active *bool
}

// Products lists up to page.Limit products, the newest first.
func (s *Store) Products(ctx context.Context, f ProductFilter, page Page) ([]domain.Product, error) {
	q := s.db.Conn(ctx).Model(&productRow{}).Select(productColumns)
	if f.Text != "" {
		q = q.Where(`search_text LIKE ? ESCAPE '\'`, "%"+escapeLike(strings.ToLower(f.Text))+"%")
	}
	if f.Active != nil {
		q = q.Where("active = ?", *f.Active)
	}
	var rows []productRow
	if err := newest(q, page).Find(&rows).Error; err != nil {
		return nil, err
	}
	products := make([]domain.Product, len(rows))
	for i, r := range rows {
		products[i] = r.product()
	}
	return products, nil
}

func escapeLike(s string) string {
	return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(s)
}

// newest turns a query into the page of a list.
func newest(q *gorm.DB, page Page) *gorm.DB {
	if page.ID != "" {
		q = q.Where("(created_at, id) < (?, ?)", page.At, page.ID)
	}
	return q.Order("created_at DESC, id DESC").Limit(page.Limit)
}

// MoveStock queues the addition of pieces, negative to take away, to the stock
// of each product. A stock below 0 violates products_stock_check. The products
// are taken in the order of their ids, so that orders that share several do
// not lock each other out.
func (s *Store) MoveStock(ctx context.Context, pieces map[string]int64, now time.Time) error {
	for _, id := range slices.Sorted(maps.Keys(pieces)) {
		if err := s.db.Queue(ctx).Exec("UPDATE products SET stock = stock + ?, updated_at = ? WHERE id = ?", pieces[id], db.Micros(now), id).Error; err != nil {
			return err
		}
	}
	return nil
}
