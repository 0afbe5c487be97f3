package app

import (
	"context"
	"errors"

	"cleave/modules/user/internal/domain"
	"cleave/modules/user/internal/store"
)

// ReleaseCredit gives a reservation back. Repeating it changes nothing. A key that was never reserved is used up, so that a
// reservation that its own cancellation has overtaken finds it so.
func (a *App) ReleaseCredit(ctx context.Context, key string) error {
	if err := domain.CheckReservationKey(key); err != nil {
		return err
	}
	err := a.release(ctx, key)
	if errors.Is(err, store.ErrReservationExists) {
		// It was reserved or released between the look and the write; keys are never removed, so this time it is found.
		err = a.release(ctx, key)
	}
	return err
}

func (a *App) release(ctx context.Context, key string) error {
	return a.DB.Tx(ctx, func(ctx context.Context) error {
		r, mine, err := a.settle(ctx, key, domain.Released, domain.Release)
		switch {
		case err != nil || mine:
			return err
		case r.State == domain.Released:
			return nil
		case r.State == domain.Captured:
			return domain.ErrReservationCaptured
		default:
			return a.Store.InsertReleased(ctx, key, a.now())
		}
	})
}
