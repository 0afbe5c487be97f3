package store

import (
	"context"
	"time"

	"cleave/platform/db"
)

// EraseUser removes a user and all that tells of them. Their account, reservations and ledger entries go to a new user without an
// address or a name, whom nobody can log in as or read; the entries lose their notes.
func (s *Store) EraseUser(ctx context.Context, userID, successor string, now time.Time) error {
	at := db.Micros(now)
	// Whoever reserves credit at this moment is done, or waits and then finds no account.
	var locked []string
	if err := s.db.Conn(ctx).Raw("SELECT user_id FROM accounts WHERE user_id = ?"+s.forUpdate("accounts"), userID).Scan(&locked).Error; err != nil {
		return err
	}
	q := s.db.Queue(ctx)
	if err := q.Exec(`INSERT INTO users (id, email, email_lower, display_name, search, password_hash, disabled, version, created_at, updated_at, erased_at)
		VALUES (?, '', ?, '', '', '', true, 1, ?, ?, ?)`, successor, "erased:"+successor, at, at, at).Error; err != nil {
		return err
	}
	for _, statement := range []string{
		`INSERT INTO accounts (user_id, currency, granted, available, reserved, captured, version, updated_at)
			SELECT ?, currency, granted, available, reserved, captured, version, updated_at FROM accounts WHERE user_id = ?`,
		"UPDATE reservations SET user_id = ? WHERE user_id = ?",
		"UPDATE ledger_entries SET user_id = ?, note = '' WHERE user_id = ?",
		"UPDATE first_admin SET user_id = ? WHERE user_id = ?",
	} {
		if err := q.Exec(statement, successor, userID).Error; err != nil {
			return err
		}
	}
	for _, statement := range []string{
		"DELETE FROM accounts WHERE user_id = ?", "DELETE FROM user_roles WHERE user_id = ?", "DELETE FROM sessions WHERE user_id = ?",
		"DELETE FROM oauth_requests WHERE user_id = ?",
		"DELETE FROM users WHERE id = ?", // and by cascade whatever else is theirs
	} {
		if err := q.Exec(statement, userID).Error; err != nil {
			return err
		}
	}
	return nil
}
