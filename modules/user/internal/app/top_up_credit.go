package app

import (
	"context"
	"strconv"

	"cleave/modules/user/internal/domain"
)

// TopUpCredit grants an amount to a user and returns the entry in the ledger.
func (a *App) TopUpCredit(ctx context.Context, userID string, amount domain.Money, note string) (domain.Entry, error) {
	if err := amount.CheckMovement("/amount"); err != nil {
		return domain.Entry{}, err
	}
	e := a.entry(domain.Grant, userID, amount, a.now())
	e.Note = note
	return e, a.DB.Tx(ctx, func(ctx context.Context) error {
		done, err := a.Store.Grant(ctx, e)
		if err != nil {
			return err
		}
		if done {
			return a.audited(ctx, "user:credit:top_up", userID, map[string]string{
				"entry": e.ID, "minor_units": strconv.FormatInt(amount.MinorUnits, 10), "currency": amount.Currency,
			})
		}
		if _, err := a.Store.Account(ctx, userID); err != nil {
			return err
		}
		return domain.ErrCurrencyMismatch
	})
}
