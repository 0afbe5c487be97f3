package rest

import (
	"context"

	"cleave/platform/db"
)

// ForgetAnswers removes the answers that are kept for repeated requests of a user. It must be called inside a transaction of d.
func ForgetAnswers(ctx context.Context, d *db.DB, subject string) error {
	scopes := subject + " " // and then the operation
	return d.Queue(ctx).Exec("DELETE FROM idempotency_keys WHERE substr(scope, 1, ?) = ?", len(scopes), scopes).Error
}
