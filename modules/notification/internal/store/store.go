// Package store keeps recipients, their notifications and preferences, and the
// mails to be sent, in the module's tables.
package store

import (
	"context"

	"cleave/modules/notification/internal/domain"
	"cleave/platform/db"
)

// Store reads and writes the module's tables. Writes need a transaction; those
// that report nothing back are queued for its end.
type Store struct{ db *db.DB }

// New returns a store on the module's database.
func New(d *db.DB) *Store { return &Store{db: d} }

// queueTurn makes the transactions that write to recipients take turns: what a
// transaction reads there after its turn has come is final, and none waits for
// another in a circle. On SQLite they take turns anyway.
func (s *Store) queueTurn(ctx context.Context) error {
	if s.db.Dialect() != "postgres" {
		return nil
	}
	return s.db.Queue(ctx).Exec("SELECT pg_advisory_xact_lock(hashtextextended('notification:recipients', 0))").Error
}

// KeepContact queues how to address a user, unless newer news is known or the user was erased.
func (s *Store) KeepContact(ctx context.Context, c domain.Contact) error {
	if err := s.queueTurn(ctx); err != nil {
		return err
	}
	return s.db.Queue(ctx).Exec(`INSERT INTO recipients (user_id, email, display_name, contact_version) SELECT ?, ?, ?, ?
		WHERE NOT EXISTS (SELECT 1 FROM erased_users WHERE user_id = ?)
		ON CONFLICT (user_id) DO UPDATE
		SET email = excluded.email, display_name = excluded.display_name, contact_version = excluded.contact_version
		WHERE recipients.contact_version < excluded.contact_version`,
		c.UserID, c.Email, c.DisplayName, c.Version, c.UserID).Error
}

// Preferences reads a user's preferences, in one statement, so that they belong
// to their version.
func (s *Store) Preferences(ctx context.Context, userID string) (domain.Preferences, error) {
	var rows []struct {
		PreferencesVersion int64
		Kind               domain.Kind // empty when nothing is muted
		Channel            domain.Channel
	}
	err := s.db.Conn(ctx).Raw(`SELECT r.preferences_version, m.kind, m.channel FROM recipients r
		LEFT JOIN mutes m ON m.user_id = r.user_id WHERE r.user_id = ?`, userID).Scan(&rows).Error
	p := domain.Preferences{Muted: map[domain.Route]bool{}}
	for _, r := range rows {
		p.Version = r.PreferencesVersion
		if r.Kind != "" {
			p.Muted[domain.Route{Kind: r.Kind, Channel: r.Channel}] = true
		}
	}
	return p, err
}

// SetPreferences replaces a user's preferences by p, as the version after
// p.Version, and reports whether that was still the current one.
func (s *Store) SetPreferences(ctx context.Context, userID string, p domain.Preferences) (bool, error) {
	query := "UPDATE recipients SET preferences_version = preferences_version + 1 WHERE user_id = ? AND preferences_version = ?"
	args := []any{userID, p.Version}
	if p.Version == 0 { // perhaps nothing is known of the user yet
		query = `INSERT INTO recipients (user_id, preferences_version) VALUES (?, 1)
			ON CONFLICT (user_id) DO UPDATE SET preferences_version = 1 WHERE recipients.preferences_version = ?`
	}
	res := s.db.Conn(ctx).Exec(query, args...)
	if res.Error != nil || res.RowsAffected == 0 {
		return false, res.Error
	}
	if err := s.db.Queue(ctx).Exec("DELETE FROM mutes WHERE user_id = ?", userID).Error; err != nil {
		return false, err
	}
	for r := range p.Muted {
		err := s.db.Queue(ctx).Exec("INSERT INTO mutes (user_id, kind, channel) VALUES (?, ?, ?)", userID, r.Kind, r.Channel).Error
		if err != nil {
			return false, err
		}
	}
	return true, nil
}
