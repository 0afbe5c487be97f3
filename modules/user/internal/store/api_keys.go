package store

import (
	"context"
	"strings"
	"time"

	"cleave/modules/user/internal/domain"
	"cleave/platform/db"
)

// APIKey is a key that a program trades for access tokens, but for the key itself.
type APIKey struct {
	ID         string
	UserID     string
	Name       string
	Prefix     string
	Scopes     []string
	CreatedAt  time.Time
	ExpiresAt  time.Time
	LastUsedAt time.Time // zero before the first time
}

// InsertAPIKey adds a key; false when the user has limit keys already. The user's row must be locked.
func (s *Store) InsertAPIKey(ctx context.Context, k APIKey, hash string, limit int) (bool, error) {
	res := s.db.Conn(ctx).Exec(`INSERT INTO api_keys (id, user_id, hash, name, prefix, scopes, created_at, expires_at)
		SELECT ?, ?, ?, ?, ?, ?, ?, ? WHERE (SELECT count(*) FROM api_keys WHERE user_id = ?) < ?`,
		k.ID, k.UserID, hash, k.Name, k.Prefix, strings.Join(k.Scopes, " "), db.Micros(k.CreatedAt), db.Micros(k.ExpiresAt), k.UserID, limit)
	return res.RowsAffected == 1, res.Error
}

// APIKeys reads up to limit of a user's keys, the newest first.
func (s *Store) APIKeys(ctx context.Context, userID string, limit int) ([]APIKey, error) {
	return s.apiKeys(ctx, "SELECT "+apiKeyColumns+" FROM api_keys WHERE user_id = ? ORDER BY created_at DESC, id DESC LIMIT ?", userID, limit)
}

// UseAPIKey notes that a key was used now and reads it; ErrAPIKey when there is none that holds.
func (s *Store) UseAPIKey(ctx context.Context, hash string, now time.Time) (APIKey, error) {
	keys, err := s.apiKeys(ctx, "UPDATE api_keys SET last_used_at = ? WHERE hash = ? AND expires_at > ? RETURNING "+apiKeyColumns,
		db.Micros(now), hash, db.Micros(now))
	if err != nil {
		return APIKey{}, err
	}
	if len(keys) == 0 {
		return APIKey{}, domain.ErrAPIKey
	}
	return keys[0], nil
}

// DeleteAPIKey removes a key of a user; false when the user has no such key.
func (s *Store) DeleteAPIKey(ctx context.Context, userID, id string) (bool, error) {
	res := s.db.Conn(ctx).Exec("DELETE FROM api_keys WHERE id = ? AND user_id = ?", id, userID)
	return res.RowsAffected == 1, res.Error
}

const apiKeyColumns = "id, user_id, name, prefix, scopes, created_at, expires_at, last_used_at" // #nosec G101 -- names of columns

func (s *Store) apiKeys(ctx context.Context, query string, args ...any) ([]APIKey, error) {
	var rows []struct {
		ID, UserID, Name, Prefix, Scopes string
		CreatedAt, ExpiresAt, LastUsedAt int64
	}
	err := s.db.Conn(ctx).Raw(query, args...).Scan(&rows).Error
	keys := make([]APIKey, len(rows))
	for i, r := range rows {
		keys[i] = APIKey{
			ID: r.ID, UserID: r.UserID, Name: r.Name, Prefix: r.Prefix, Scopes: strings.Fields(r.Scopes),
			CreatedAt: db.FromMicros(r.CreatedAt), ExpiresAt: db.FromMicros(r.ExpiresAt),
		}
		if r.LastUsedAt != 0 {
			keys[i].LastUsedAt = db.FromMicros(r.LastUsedAt)
		}
	}
	return keys, err
}
