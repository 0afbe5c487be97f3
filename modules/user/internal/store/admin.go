package store

import (
	"context"
	"time"

	"cleave/platform/db"
)

// HasFirstAdmin reports whether the first administrator has been made.
func (s *Store) HasFirstAdmin(ctx context.Context) (bool, error) {
	return s.exists(ctx, "SELECT count(*) FROM first_admin")
}

// InsertFirstAdmin queues that a user is the first administrator, which makes all tokens void. At the end of the transaction
// it is ErrFirstAdminExists when there is one already.
func (s *Store) InsertFirstAdmin(ctx context.Context, userID string, now time.Time) error {
	if err := s.db.Queue(ctx).Exec("INSERT INTO first_admin (one, user_id, created_at) VALUES (1, ?, ?)", userID, db.Micros(now)).Error; err != nil {
		return err
	}
	return s.db.Queue(ctx).Exec("DELETE FROM first_admin_tokens").Error
}

// HasFirstAdminToken reports whether a token with this hash was printed and is good.
func (s *Store) HasFirstAdminToken(ctx context.Context, hash string) (bool, error) {
	return s.exists(ctx, "SELECT count(*) FROM first_admin_tokens WHERE hash = ?", hash)
}

// InsertFirstAdminToken queues a token.
func (s *Store) InsertFirstAdminToken(ctx context.Context, hash string, now time.Time) error {
	return s.db.Queue(ctx).Exec("INSERT INTO first_admin_tokens (hash, created_at) VALUES (?, ?)", hash, db.Micros(now)).Error
}

func (s *Store) exists(ctx context.Context, query string, args ...any) (bool, error) {
	var n int64
	err := s.db.Conn(ctx).Raw(query, args...).Scan(&n).Error
	return n > 0, err
}
