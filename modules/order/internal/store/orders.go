package store

import (
	"context"
	"time"

	"cleave/modules/order/internal/domain"
	"cleave/platform/db"
)

type orderRow struct {
	ID           string
	Number       string
	BuyerID      string
	Status       domain.Status
	TotalMinor   int64
	Currency     string
	Reason       string
	TrackingCode string
	Version      int64
	CreatedAt    int64 `gorm:"autoCreateTime:false"`
	UpdatedAt    int64 `gorm:"autoUpdateTime:false"`
}

func (orderRow) TableName() string { return "orders" }

func (r orderRow) order() domain.Order {
	return domain.Order{
		ID: r.ID, Number: r.Number, BuyerID: r.BuyerID, Status: r.Status,
		Total:  domain.Money{MinorUnits: r.TotalMinor, Currency: r.Currency},
		Reason: r.Reason, TrackingCode: r.TrackingCode, Version: r.Version,
		CreatedAt: db.FromMicros(r.CreatedAt), UpdatedAt: db.FromMicros(r.UpdatedAt),
	}
}

// lineRow is a line; its currency is the order's.
type lineRow struct {
	OrderID        string
	Position       int
	ProductID      string
	SKU            string
	Name           string
	Quantity       int64
	UnitPriceMinor int64
}

func (lineRow) TableName() string { return "order_lines" }

func (r lineRow) line(currency string) domain.Line {
	return domain.Line{
		ProductID: r.ProductID, SKU: r.SKU, Name: r.Name, Quantity: r.Quantity,
		UnitPrice: domain.Money{MinorUnits: r.UnitPriceMinor, Currency: currency},
	}
}

// InsertOrder queues a new order with its lines.
func (s *Store) InsertOrder(ctx context.Context, o *domain.Order) error {
	lines := make([]lineRow, len(o.Lines))
	for i, l := range o.Lines {
		lines[i] = lineRow{
			OrderID: o.ID, Position: i, ProductID: l.ProductID, SKU: l.SKU, Name: l.Name,
			Quantity: l.Quantity, UnitPriceMinor: l.UnitPrice.MinorUnits,
		}
	}
	if err := s.db.Queue(ctx).Create(&orderRow{
		ID: o.ID, Number: o.Number, BuyerID: o.BuyerID, Status: o.Status, TotalMinor: o.Total.MinorUnits, Currency: o.Total.Currency,
		Reason: o.Reason, TrackingCode: o.TrackingCode, Version: o.Version, CreatedAt: db.Micros(o.CreatedAt), UpdatedAt: db.Micros(o.UpdatedAt),
	}).Error; err != nil {
		return err
	}
	return s.db.Queue(ctx).Create(&lines).Error
}

// UpdateOrder queues what can change of an order. The caller holds the row by
// LockOrder or LockOpenOrders.
func (s *Store) UpdateOrder(ctx context.Context, o *domain.Order) error {
	return s.db.Queue(ctx).Exec("UPDATE orders SET status = ?, reason = ?, tracking_code = ?, version = ?, updated_at = ? WHERE id = ?",
		o.Status, o.Reason, o.TrackingCode, o.Version, db.Micros(o.UpdatedAt), o.ID).Error
}

// Advance moves an order to the next state in one statement. It returns false
// when the order is in no state that may become next.
func (s *Store) Advance(ctx context.Context, id string, next domain.Status, reason string, now time.Time) (bool, error) {
	res := s.db.Conn(ctx).Exec("UPDATE orders SET status = ?, reason = ?, version = version + 1, updated_at = ? WHERE id = ? AND status IN ?",
		next, reason, db.Micros(now), id, next.From())
	return res.RowsAffected == 1, res.Error
}

// orderWithLine is a line beside its order.
type orderWithLine struct {
	Order orderRow
	Line  lineRow
}

func (r *orderWithLine) columns() []any {
	o, l := &r.Order, &r.Line
	return []any{
		&o.ID, &o.Number, &o.BuyerID, &o.Status, &o.TotalMinor, &o.Currency, &o.Reason, &o.TrackingCode, &o.Version, &o.CreatedAt, &o.UpdatedAt,
		&l.ProductID, &l.SKU, &l.Name, &l.Quantity, &l.UnitPriceMinor,
	}
}

const (
	orderColumns   = "id, number, buyer_id, status, total_minor, currency, reason, tracking_code, version, created_at, updated_at"
	lineColumns    = "product_id, sku, name, quantity, unit_price_minor"
	orderWithLines = "SELECT " + orderColumns + ", " + lineColumns + " FROM orders JOIN order_lines ON order_id = id WHERE id = ? ORDER BY position"
)

// Order reads one order; nil when there is none.
func (s *Store) Order(ctx context.Context, id string) (*domain.Order, error) {
	return s.order(ctx, orderWithLines, id)
}

// LockOrder reads one order and keeps others from changing it until the
// transaction ends; nil when there is none.
func (s *Store) LockOrder(ctx context.Context, id string) (*domain.Order, error) {
	return s.order(ctx, orderWithLines+s.lock("orders"), id)
}

func (s *Store) order(ctx context.Context, query, id string) (*domain.Order, error) {
	rows, err := db.Select(ctx, s.db, (*orderWithLine).columns, query, id)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	o := rows[0].Order.order()
	o.Lines = make([]domain.Line, len(rows))
	for i, r := range rows {
		o.Lines[i] = r.Line.line(o.Total.Currency)
	}
	return &o, nil
}

// OrderFilter chooses orders; the zero value chooses all.
type OrderFilter struct {
	BuyerID string
	Status  domain.Status
}

// Orders lists up to page.Limit orders with their lines, the newest first.
func (s *Store) Orders(ctx context.Context, f OrderFilter, page Page) ([]domain.Order, error) {
	q := s.db.Conn(ctx).Model(&orderRow{}).Select(orderColumns)
	if f.BuyerID != "" {
		q = q.Where("buyer_id = ?", f.BuyerID)
	}
	if f.Status != "" {
		q = q.Where("status = ?", f.Status)
	}
	var rows []orderRow
	if err := newest(q, page).Find(&rows).Error; err != nil {
		return nil, err
	}
	return s.withLines(ctx, rows)
}

// LockOpenOrders reads up to limit of a buyer's orders that can be cancelled,
// the oldest first, and keeps others from changing them until the transaction
// ends.
func (s *Store) LockOpenOrders(ctx context.Context, buyerID string, limit int) ([]domain.Order, error) {
	var rows []orderRow
	err := s.db.Conn(ctx).Raw("SELECT "+orderColumns+" FROM orders WHERE buyer_id = ? AND status IN ? ORDER BY created_at, id LIMIT ?"+s.lock("orders"),
		buyerID, domain.Cancelled.From(), limit).Scan(&rows).Error
	if err != nil {
		return nil, err
	}
	return s.withLines(ctx, rows)
}

func (s *Store) withLines(ctx context.Context, rows []orderRow) ([]domain.Order, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	ids := make([]string, len(rows))
	at := make(map[string]int, len(rows))
	orders := make([]domain.Order, len(rows))
	for i, r := range rows {
		ids[i], at[r.ID], orders[i] = r.ID, i, r.order()
	}
	var lines []lineRow
	if err := s.db.Conn(ctx).Raw("SELECT order_id, "+lineColumns+" FROM order_lines WHERE order_id IN ? ORDER BY order_id, position", ids).Scan(&lines).Error; err != nil {
		return nil, err
	}
	for _, l := range lines {
		o := &orders[at[l.OrderID]]
		o.Lines = append(o.Lines, l.line(o.Total.Currency))
	}
	return orders, nil
}

// OrderIDs reads the ids of all orders of a buyer.
func (s *Store) OrderIDs(ctx context.Context, buyerID string) (ids []string, err error) {
	err = s.db.Conn(ctx).Raw("SELECT id FROM orders WHERE buyer_id = ?", buyerID).Scan(&ids).Error
	return ids, err
}

// Anonymise queues another buyer for all orders of a buyer, and removes what leads to a person: the carrier's code, and reasons in words.
func (s *Store) Anonymise(ctx context.Context, buyerID, nobody string, now time.Time) error {
	return s.db.Queue(ctx).Exec(`UPDATE orders SET buyer_id = ?, tracking_code = '', version = version + 1, updated_at = ?,
		reason = CASE WHEN status = 'rejected' OR reason IN ('user_disabled', 'user_deleted') THEN reason ELSE '' END
		WHERE buyer_id = ?`, nobody, db.Micros(now), buyerID).Error
}
