package app

import (
	"context"

	"cleave/modules/user/internal/domain"
	"cleave/modules/user/internal/store"
)

// Credit reads the state of a user's account.
func (a *App) Credit(ctx context.Context, userID string) (domain.Account, error) {
	return a.Store.Account(ctx, userID)
}

// ListCreditEntries reads a page of a user's ledger, the newest first, and whether another one follows.
func (a *App) ListCreditEntries(ctx context.Context, userID string, p store.Page) ([]domain.Entry, bool, error) {
	if _, err := a.Store.Account(ctx, userID); err != nil {
		return nil, false, err
	}
	return page(p, func(p store.Page) ([]domain.Entry, error) { return a.Store.ListEntries(ctx, userID, p) })
}
