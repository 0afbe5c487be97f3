package store

import (
	"context"
	"time"

	"cleave/modules/user/internal/domain"
	"cleave/platform/db"
)

// Account reads a user's account; ErrUserNotFound when there is none.
func (s *Store) Account(ctx context.Context, userID string) (domain.Account, error) {
	var rows []domain.Account
	err := s.db.Conn(ctx).Raw("SELECT user_id, currency, granted, available, reserved, captured, version FROM accounts WHERE user_id = ?", userID).
		Scan(&rows).Error
	if err != nil {
		return domain.Account{}, err
	}
	if len(rows) == 0 {
		return domain.Account{}, domain.ErrUserNotFound
	}
	return rows[0], nil
}

// Grant adds to the account of the entry's user if it has the entry's currency, and reports whether it did. It violates
// ErrCreditLimit when the account cannot hold so much.
func (s *Store) Grant(ctx context.Context, e domain.Entry) (bool, error) {
	res := s.db.Conn(ctx).Exec(`UPDATE accounts SET granted = granted + ?, available = available + ?, version = version + 1, updated_at = ?
		WHERE user_id = ? AND currency = ?`, e.Amount.MinorUnits, e.Amount.MinorUnits, db.Micros(e.CreatedAt), e.UserID, e.Amount.Currency)
	if res.Error != nil || res.RowsAffected == 0 {
		return false, res.Error
	}
	return true, s.insertEntry(ctx, e)
}

// Reserve queues a reservation, the change of the account and the entry, in one round trip with the commit. The transaction
// ends in ErrReservationExists, ErrNotChargeable or ErrInsufficientCredit, checked in this order, when it cannot be made.
func (s *Store) Reserve(ctx context.Context, e domain.Entry) error {
	at, amount := db.Micros(e.CreatedAt), e.Amount.MinorUnits
	q := s.db.Queue(ctx)
	// The subquery finds only an account that may be charged; without one, reservations_user_check refuses the row.
	if err := q.Exec(`INSERT INTO reservations (key, user_id, currency, amount, state, created_at, updated_at) VALUES (?,
		(SELECT u.id FROM users u JOIN accounts a ON a.user_id = u.id WHERE u.id = ? AND a.currency = ? AND NOT u.disabled),
		?, ?, 'reserved', ?, ?)`, e.ReservationKey, e.UserID, e.Amount.Currency, e.Amount.Currency, amount, at, at).Error; err != nil {
		return err
	}
	if err := q.Exec("UPDATE accounts SET available = available - ?, reserved = reserved + ?, version = version + 1, updated_at = ? WHERE user_id = ?",
		amount, amount, at, e.UserID).Error; err != nil {
		return err
	}
	return s.insertEntry(ctx, e)
}

// Settle takes a reservation from Reserved to a final state. It returns the reservation and whether this call was the one
// that did; the account and the ledger are still to follow, by Move.
func (s *Store) Settle(ctx context.Context, key string, to domain.ReservationState, now time.Time) (domain.Reservation, bool, error) {
	return s.reservation(ctx, `UPDATE reservations SET state = ?, updated_at = ? WHERE key = ? AND state = 'reserved'
		RETURNING key, user_id, currency, amount, state`, string(to), db.Micros(now), key)
}

// Move queues the change of the account for an entry of kind Capture or Release, and the entry.
func (s *Store) Move(ctx context.Context, e domain.Entry) error {
	part := "captured"
	if e.Kind == domain.Release {
		part = "available"
	}
	if err := s.db.Queue(ctx).Exec("UPDATE accounts SET reserved = reserved - ?, "+part+" = "+part+" + ?, version = version + 1, updated_at = ? WHERE user_id = ?",
		e.Amount.MinorUnits, e.Amount.MinorUnits, db.Micros(e.CreatedAt), e.UserID).Error; err != nil {
		return err
	}
	return s.insertEntry(ctx, e)
}

// Reservation reads a reservation; false when the key was never used.
func (s *Store) Reservation(ctx context.Context, key string) (domain.Reservation, bool, error) {
	return s.reservation(ctx, "SELECT key, user_id, currency, amount, state FROM reservations WHERE key = ?", key)
}

func (s *Store) reservation(ctx context.Context, query string, args ...any) (domain.Reservation, bool, error) {
	var rows []struct {
		Key      string
		UserID   string
		Currency string
		Amount   int64
		State    string
	}
	if err := s.db.Conn(ctx).Raw(query, args...).Scan(&rows).Error; err != nil || len(rows) == 0 {
		return domain.Reservation{}, false, err
	}
	r := rows[0]
	return domain.Reservation{
		Key: r.Key, UserID: r.UserID, Amount: domain.Money{MinorUnits: r.Amount, Currency: r.Currency}, State: domain.ReservationState(r.State),
	}, true, nil
}

// InsertReleased queues a key that is released before it was ever reserved. The transaction ends in ErrReservationExists
// when the key is in use after all.
func (s *Store) InsertReleased(ctx context.Context, key string, now time.Time) error {
	return s.db.Queue(ctx).Exec("INSERT INTO reservations (key, state, created_at, updated_at) VALUES (?, 'released', ?, ?)",
		key, db.Micros(now), db.Micros(now)).Error
}

func (s *Store) insertEntry(ctx context.Context, e domain.Entry) error {
	var key any
	if e.ReservationKey != "" {
		key = e.ReservationKey
	}
	return s.db.Queue(ctx).Exec(`INSERT INTO ledger_entries (id, user_id, kind, amount, currency, reservation_key, note, created_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		e.ID, e.UserID, string(e.Kind), e.Amount.MinorUnits, e.Amount.Currency, key, e.Note, db.Micros(e.CreatedAt)).Error
}

// ListEntries reads a page of a user's ledger, the newest first.
func (s *Store) ListEntries(ctx context.Context, userID string, p Page) ([]domain.Entry, error) {
	query := "SELECT id, kind, amount, currency, reservation_key, note, created_at FROM ledger_entries WHERE user_id = ?"
	args := []any{userID}
	if p.BeforeID != "" {
		query += " AND (created_at, id) < (?, ?)"
		args = append(args, p.Before, p.BeforeID)
	}
	var rows []struct {
		ID             string
		Kind           string
		Amount         int64
		Currency       string
		ReservationKey string
		Note           string
		CreatedAt      int64
	}
	err := s.db.Conn(ctx).Raw(query+" ORDER BY created_at DESC, id DESC LIMIT ?", append(args, p.Limit)...).Scan(&rows).Error
	if err != nil {
		return nil, err
	}
	entries := make([]domain.Entry, len(rows))
	for i, r := range rows {
		entries[i] = domain.Entry{
			ID: r.ID, UserID: userID, Kind: domain.EntryKind(r.Kind), Amount: domain.Money{MinorUnits: r.Amount, Currency: r.Currency},
			ReservationKey: r.ReservationKey, Note: r.Note, CreatedAt: db.FromMicros(r.CreatedAt),
		}
	}
	return entries, nil
}
