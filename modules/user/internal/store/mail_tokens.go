package store

import (
	"context"
	"time"

	"cleave/modules/user/internal/domain"
	"cleave/platform/db"
)

// MailToken is what was mailed to a user, but for the token itself.
type MailToken struct {
	Purpose    domain.MailPurpose
	UserID     string // "" for nobody
	EmailLower string // the address that it was mailed to
	ExpiresAt  time.Time
}

// InsertMailToken queues a token.
func (s *Store) InsertMailToken(ctx context.Context, hash string, t MailToken) error {
	var userID any
	if t.UserID != "" {
		userID = t.UserID
	}
	return s.db.Queue(ctx).Exec("INSERT INTO mail_tokens (hash, purpose, user_id, email_lower, expires_at) VALUES (?, ?, ?, ?, ?)",
		hash, t.Purpose, userID, t.EmailLower, db.Micros(t.ExpiresAt)).Error
}

// MailToken reads a token that holds; ErrMailToken when there is none.
func (s *Store) MailToken(ctx context.Context, hash string, p domain.MailPurpose, now time.Time) (MailToken, error) {
	return s.mailToken(ctx, "SELECT user_id, email_lower FROM mail_tokens WHERE hash = ? AND purpose = ? AND expires_at > ? AND user_id IS NOT NULL",
		hash, p, db.Micros(now))
}

// UseMailToken takes a token that holds away; ErrMailToken when there is none, or another transaction has been faster.
func (s *Store) UseMailToken(ctx context.Context, hash string, p domain.MailPurpose, now time.Time) (MailToken, error) {
	return s.mailToken(ctx, "DELETE FROM mail_tokens WHERE hash = ? AND purpose = ? AND expires_at > ? AND user_id IS NOT NULL RETURNING user_id, email_lower",
		hash, p, db.Micros(now))
}

func (s *Store) mailToken(ctx context.Context, query string, hash string, p domain.MailPurpose, now int64) (MailToken, error) {
	var rows []struct{ UserID, EmailLower string }
	if err := s.db.Conn(ctx).Raw(query, hash, p, now).Scan(&rows).Error; err != nil {
		return MailToken{}, err
	}
	if len(rows) == 0 {
		return MailToken{}, domain.ErrMailToken
	}
	return MailToken{Purpose: p, UserID: rows[0].UserID, EmailLower: rows[0].EmailLower}, nil
}

// DeleteMailTokens queues the end of a user's tokens of one purpose.
func (s *Store) DeleteMailTokens(ctx context.Context, userID string, p domain.MailPurpose) error {
	return s.db.Queue(ctx).Exec("DELETE FROM mail_tokens WHERE user_id = ? AND purpose = ?", userID, p).Error
}

// PurgeMailTokens removes tokens that expired before a time.
func (s *Store) PurgeMailTokens(ctx context.Context, before time.Time) error {
	return s.db.Tx(ctx, func(ctx context.Context) error {
		return s.db.Queue(ctx).Exec("DELETE FROM mail_tokens WHERE expires_at < ?", db.Micros(before)).Error
	})
}

// SetPassword replaces a password hash that is still the given one, and reports whether it was.
func (s *Store) SetPassword(ctx context.Context, userID, before, hash string) (bool, error) {
	res := s.db.Conn(ctx).Exec("UPDATE users SET password_hash = ? WHERE id = ? AND password_hash = ?", hash, userID, before)
	return res.RowsAffected == 1, res.Error
}
