package store

import (
	"context"
	"time"

	"cleave/platform/db"
)

// EraseUser removes all rows of a user, keeps others from making new ones, and returns the addresses that were known.
func (s *Store) EraseUser(ctx context.Context, userID string, now time.Time) (emails []string, err error) {
	if err := s.queueTurn(ctx); err != nil {
		return nil, err
	}
	if err := s.db.Conn(ctx).Raw(`SELECT email FROM recipients WHERE user_id = ? AND email <> ''
		UNION SELECT address FROM mails WHERE user_id = ? AND address <> ''`, userID, userID).Scan(&emails).Error; err != nil {
		return nil, err
	}
	q := s.db.Queue(ctx)
	for _, statement := range []string{
		"DELETE FROM mails WHERE user_id = ?", "DELETE FROM notifications WHERE user_id = ?",
		"DELETE FROM mutes WHERE user_id = ?", "DELETE FROM recipients WHERE user_id = ?",
	} {
		if err := q.Exec(statement, userID).Error; err != nil {
			return nil, err
		}
	}
	return emails, q.Exec("INSERT INTO erased_users (user_id, erased_at) VALUES (?, ?) ON CONFLICT (user_id) DO NOTHING", userID, db.Micros(now)).Error
}

// PurgeErased queues the end of the memory of users who were erased before a time.
func (s *Store) PurgeErased(ctx context.Context, before time.Time) error {
	return s.db.Queue(ctx).Exec("DELETE FROM erased_users WHERE erased_at < ?", db.Micros(before)).Error
}
