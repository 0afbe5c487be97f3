package app

import (
	"context"
	"time"

	"cleave/modules/user/internal/domain"
)

// CaptureCredit spends a reservation. Repeating it changes nothing.
func (a *App) CaptureCredit(ctx context.Context, key string) error {
	if err := domain.CheckReservationKey(key); err != nil {
		return err
	}
	return a.DB.Tx(ctx, func(ctx context.Context) error {
		r, mine, err := a.settle(ctx, key, domain.Captured, domain.Capture)
		switch {
		case err != nil || mine:
			return err
		case r.State == domain.Captured:
			return nil
		case r.State == domain.Released:
			return domain.ErrReservationReleased
		default:
			return domain.ErrReservationNotFound
		}
	})
}

// settle takes a reservation to a final state, with its account and the ledger, if it is reserved, and reports whether it did.
// Otherwise it returns the reservation: final, or without a state when the key was never used. One that was reserved between
// the two statements is returned as Reserved, which the caller must take for not there yet.
func (a *App) settle(ctx context.Context, key string, to domain.ReservationState, kind domain.EntryKind) (domain.Reservation, bool, error) {
	r, mine, err := a.Store.Settle(ctx, key, to, a.now())
	if err != nil {
		return r, false, err
	}
	if mine {
		// The time is taken now: before, the reserve might still have been under way, and the ledger shows it later.
		return r, true, a.move(ctx, kind, r, a.now())
	}
	r, _, err = a.Store.Reservation(ctx, key)
	return r, false, err
}

func (a *App) move(ctx context.Context, kind domain.EntryKind, r domain.Reservation, now time.Time) error {
	e := a.entry(kind, r.UserID, r.Amount, now)
	e.ReservationKey = r.Key
	return a.Store.Move(ctx, e)
}
