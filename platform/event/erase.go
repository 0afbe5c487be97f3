package event

import (
	"context"

	"cleave/platform/db"
)

// Erase removes the payloads of all events under a key that the module of d keeps, when what they tell of has to be forgotten: those
// that have not left the outbox, its history, and dead letters. Events that were handled stay known by their ids, without a payload;
// those that wait in an inbox are left to their handlers. It must be called inside a transaction.
func Erase(ctx context.Context, d *db.DB, key string) error {
	q := d.Queue(ctx)
	for _, statement := range []string{
		"DELETE FROM outbox WHERE key = ?", "DELETE FROM outbox_dead WHERE key = ?", "DELETE FROM event_history WHERE key = ?",
		"DELETE FROM inbox WHERE key = ? AND state = 'dead'",
	} {
		if err := q.Exec(statement, key).Error; err != nil {
			return err
		}
	}
	return q.Exec("UPDATE inbox SET payload = '' WHERE key = ? AND state = 'done'", key).Error
}
