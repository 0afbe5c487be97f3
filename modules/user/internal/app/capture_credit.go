package app

import (
	"context"

	"cleave/modules/user/internal/domain"
)

// CaptureCredit spends a reservation. Repeating it changes nothing.
func (a *App) CaptureCredit(ctx context.Context, key string) error {
	if err := domain.CheckReservationKey(key); err != nil {
		return err
	}
	return a.DB.Tx(ctx, func(ctx context.Context) error {
		now := a.now()
		r, mine, err := a.Store.Settle(ctx, key, domain.Captured, now)
		if err != nil {
			return err
		}
		if mine {
			e := a.entry(domain.Capture, r.UserID, r.Amount, now)
			e.ReservationKey = key
			return a.Store.Move(ctx, e)
		}
		r, found, err := a.Store.Reservation(ctx, key)
		switch {
		case err != nil:
			return err
		case !found:
			return domain.ErrReservationNotFound
		case r.State == domain.Released:
			return domain.ErrReservationReleased
		default:
			return nil
		}
	})
}
