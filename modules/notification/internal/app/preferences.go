package app

import (
	"context"

	"cleave/modules/notification/internal/domain"
	"cleave/platform/fault"
)

// Preferences reads what a user wants to be told.
func (a *App) Preferences(ctx context.Context, userID string) (domain.Preferences, error) {
	return a.Store.Preferences(ctx, userID)
}

// SetPreferences replaces a user's preferences if version is still the current
// one, and returns them with their new version; else it fails with Stale.
func (a *App) SetPreferences(ctx context.Context, userID string, version int64, list []domain.Preference) (domain.Preferences, error) {
	p, err := domain.NewPreferences(list)
	if err != nil {
		return domain.Preferences{}, err
	}
	p.Version = version
	err = a.DB.Tx(ctx, func(ctx context.Context) error {
		current, err := a.Store.SetPreferences(ctx, userID, p)
		if err == nil && !current {
			err = fault.New(fault.Stale, "version_stale", "the preferences have changed since")
		}
		return err
	})
	p.Version++
	return p, err
}
