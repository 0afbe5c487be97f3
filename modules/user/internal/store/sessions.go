package store

import (
	"context"
	"strings"
	"time"

	"cleave/platform/db"
)

// Session is a log-in and what has become of it.
type Session struct {
	ID         string
	UserID     string
	CreatedAt  time.Time
	LastUsedAt time.Time
	ExpiresAt  time.Time
	Revoked    bool
	Client     Client
	ClientID   string   // the OAuth client that it was given to; "" for a log-in through the REST API
	Scopes     []string // what the user has consented to, for a client
}

// Client is where a session was last used from, as far as it is known.
type Client struct{ UserAgent, Address string }

// InsertSession queues a session and its first refresh token.
func (s *Store) InsertSession(ctx context.Context, in Session, tokenHash string, now time.Time) error {
	err := s.db.Queue(ctx).Exec(`INSERT INTO sessions (id, user_id, created_at, last_used_at, expires_at, user_agent, address, client_id, scopes)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`, in.ID, in.UserID, db.Micros(now), db.Micros(now), db.Micros(in.ExpiresAt), in.Client.UserAgent,
		in.Client.Address, in.ClientID, strings.Join(in.Scopes, " ")).Error
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
		ID                    string
		UserID                string
		CreatedAt, LastUsedAt int64
		ExpiresAt             int64
		RevokedAt             int64
		UsedKey               string
		ClientID              string
		Scopes                string
	}
	err = s.db.Conn(ctx).Raw(`SELECT s.id, s.user_id, s.created_at, s.last_used_at, s.expires_at, s.revoked_at, s.client_id, s.scopes, t.used_key FROM refresh_tokens t JOIN sessions s ON s.id = t.session_id
		WHERE t.hash = ?`, hash).Scan(&rows).Error
	if err != nil || len(rows) == 0 {
		return Session{}, "", false, err
	}
	r := rows[0]
	return Session{
		LastUsedAt: db.FromMicros(max(r.LastUsedAt, r.CreatedAt)),
		ID:         r.ID, UserID: r.UserID, ExpiresAt: db.FromMicros(r.ExpiresAt), Revoked: r.RevokedAt != 0, ClientID: r.ClientID,
		Scopes: strings.Fields(r.Scopes),
	}, r.UsedKey, true, nil
}

// RevokeSession ends one session of a user, and reports false for one that has ended already.
func (s *Store) RevokeSession(ctx context.Context, id, userID string, now time.Time) (bool, error) {
	res := s.db.Conn(ctx).Exec("UPDATE sessions SET revoked_at = ? WHERE id = ? AND user_id = ? AND revoked_at = 0", db.Micros(now), id, userID)
	return res.RowsAffected == 1, res.Error
}

// TouchSession queues that a session was used.
func (s *Store) TouchSession(ctx context.Context, id string, c Client, now time.Time) error {
	return s.db.Queue(ctx).Exec("UPDATE sessions SET last_used_at = ?, user_agent = ?, address = ? WHERE id = ?",
		db.Micros(now), c.UserAgent, c.Address, id).Error
}

// Sessions reads up to limit of a user's sessions that have not ended, the newest first.
func (s *Store) Sessions(ctx context.Context, userID string, now time.Time, limit int) ([]Session, error) {
	var rows []struct {
		ID, UserAgent, Address           string
		CreatedAt, LastUsedAt, ExpiresAt int64
	}
	err := s.db.Conn(ctx).Raw(`SELECT id, user_agent, address, created_at, last_used_at, expires_at FROM sessions
		WHERE user_id = ? AND revoked_at = 0 AND expires_at > ? ORDER BY created_at DESC, id DESC LIMIT ?`, userID, db.Micros(now), limit).Scan(&rows).Error
	sessions := make([]Session, len(rows))
	for i, r := range rows {
		sessions[i] = Session{
			ID: r.ID, UserID: userID, CreatedAt: db.FromMicros(r.CreatedAt), LastUsedAt: db.FromMicros(max(r.LastUsedAt, r.CreatedAt)),
			ExpiresAt: db.FromMicros(r.ExpiresAt), Client: Client{UserAgent: r.UserAgent, Address: r.Address},
		}
	}
	return sessions, err
}

// RevokeOtherSessions ends all sessions of a user but one, "" for none, and returns those that had not ended.
func (s *Store) RevokeOtherSessions(ctx context.Context, userID, keep string, now time.Time) (ended []string, err error) {
	query, args := "UPDATE sessions SET revoked_at = ? WHERE user_id = ? AND revoked_at = 0 AND expires_at > ?", []any{db.Micros(now), userID, db.Micros(now)}
	if keep != "" {
		query, args = query+" AND id <> ?", append(args, keep)
	}
	err = s.db.Conn(ctx).Raw(query+" RETURNING id", args...).Scan(&ended).Error
	return ended, err
}

// RevokeSessionsBeyond ends the sessions of a user beyond the given number, those first that were not used for the longest time, and returns them.
func (s *Store) RevokeSessionsBeyond(ctx context.Context, userID string, keep int, now time.Time) (ended []string, err error) {
	const all = 1 << 30 // SQLite takes an offset only with a limit
	err = s.db.Conn(ctx).Raw(`UPDATE sessions SET revoked_at = ? WHERE id IN (SELECT id FROM sessions
		WHERE user_id = ? AND revoked_at = 0 AND expires_at > ? ORDER BY last_used_at DESC, id DESC LIMIT ? OFFSET ?) RETURNING id`,
		db.Micros(now), userID, db.Micros(now), all, keep).Scan(&ended).Error
	return ended, err
}

// UsersWithSessions reads the ids of up to limit users who have a session that has not ended.
func (s *Store) UsersWithSessions(ctx context.Context, now time.Time, limit int) (users []string, err error) {
	err = s.db.Conn(ctx).Raw("SELECT DISTINCT user_id FROM sessions WHERE revoked_at = 0 AND expires_at > ? LIMIT ?", db.Micros(now), limit).Scan(&users).Error
	return users, err
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
