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
		now := a.now()
		r, mine, err := a.Store.Settle(ctx, key, domain.Released, now)
		if err != nil {
			return err
		}
		if mine {
			e := a.entry(domain.Release, r.UserID, r.Amount, now)
			e.ReservationKey = key
			return a.Store.Move(ctx, e)
		}
		r, found, err := a.Store.Reservation(ctx, key)
		switch {
		case err != nil:
			return err
		case !found:
			return a.Store.InsertReleased(ctx, key, now)
		case r.State == domain.Captured:
			return domain.ErrReservationCaptured
		default:
			return nil
		}
	})
}
