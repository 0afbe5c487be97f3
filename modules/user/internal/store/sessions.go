package store

import (
	"context"
	"time"

	"cleave/platform/db"
)

// Session is a log-in and what has become of it.
type Session struct {
	ID        string
	UserID    string
	ExpiresAt time.Time
	Revoked   bool
}

// InsertSession queues a session and its first refresh token.
func (s *Store) InsertSession(ctx context.Context, in Session, tokenHash string, now time.Time) error {
	err := s.db.Queue(ctx).Exec("INSERT INTO sessions (id, user_id, created_at, expires_at) VALUES (?, ?, ?, ?)",
		in.ID, in.UserID, db.Micros(now), db.Micros(in.ExpiresAt)).Error
	if err != nil {
		return err
	}
	return s.InsertRefreshToken(ctx, in.ID, tokenHash, now)
}

// InsertRefreshToken queues a refresh token of a session.
func (s *Store) InsertRefreshToken(ctx context.Context, sessionID string, hash string, now time.Time) error {
	return s.db.Queue(ctx).Exec("INSERT INTO refresh_tokens (hash, session_id, created_at) VALUES (?, ?, ?)", hash, sessionID, db.Micros(now)).Error
}

// UseRefreshToken uses a token up for the request that is known by a key, and reports whether this call was the one that did.
func (s *Store) UseRefreshToken(ctx context.Context, hash, requestKey string, now time.Time) (bool, error) {
	res := s.db.Conn(ctx).Exec("UPDATE refresh_tokens SET used_at = ?, used_key = ? WHERE hash = ? AND used_at = 0", db.Micros(now), requestKey, hash)
	return res.RowsAffected == 1, res.Error
}

// SessionOfToken reads the session of a refresh token, used or not, and the key of the request that used it; false when there
// is no such token.
func (s *Store) SessionOfToken(ctx context.Context, hash string) (in Session, usedKey string, known bool, err error) {
	var rows []struct {
		ID        string
		UserID    string
		ExpiresAt int64
		RevokedAt int64
		UsedKey   string
	}
	err = s.db.Conn(ctx).Raw(`SELECT s.id, s.user_id, s.expires_at, s.revoked_at, t.used_key FROM refresh_tokens t JOIN sessions s ON s.id = t.session_id
		WHERE t.hash = ?`, hash).Scan(&rows).Error
	if err != nil || len(rows) == 0 {
		return Session{}, "", false, err
	}
	r := rows[0]
	return Session{ID: r.ID, UserID: r.UserID, ExpiresAt: db.FromMicros(r.ExpiresAt), Revoked: r.RevokedAt != 0}, r.UsedKey, true, nil
}

// RevokeSession ends one session of a user, and reports false for one that has ended already.
func (s *Store) RevokeSession(ctx context.Context, id, userID string, now time.Time) (bool, error) {
	res := s.db.Conn(ctx).Exec("UPDATE sessions SET revoked_at = ? WHERE id = ? AND user_id = ? AND revoked_at = 0", db.Micros(now), id, userID)
	return res.RowsAffected == 1, res.Error
}

// RevokeSessions queues the end of all sessions of a user.
func (s *Store) RevokeSessions(ctx context.Context, userID string, now time.Time) error {
	return s.db.Queue(ctx).Exec("UPDATE sessions SET revoked_at = ? WHERE user_id = ? AND revoked_at = 0", db.Micros(now), userID).Error
}

// PurgeSessions removes up to limit sessions that expired before a time, with their refresh tokens, and returns how many.
func (s *Store) PurgeSessions(ctx context.Context, before time.Time, limit int) (n int64, err error) {
	err = s.db.Tx(ctx, func(ctx context.Context) error {
		res := s.db.Conn(ctx).Exec("DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE expires_at < ? LIMIT ?)", db.Micros(before), limit)
		n = res.RowsAffected
		return res.Error
	})
	return n, err
}
