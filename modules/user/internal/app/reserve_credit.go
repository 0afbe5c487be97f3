package app

import (
	"context"
	"errors"

	"cleave/modules/user/internal/domain"
	"cleave/modules/user/internal/store"
	"cleave/platform/fault"
)

// ReserveCredit holds an amount of a user's credit under a key. Repeating a call changes nothing and succeeds, also when the
// reservation was captured since. On Postgres it takes one round trip, unless the database refuses.
func (a *App) ReserveCredit(ctx context.Context, key, userID string, amount domain.Money) error {
	if err := domain.CheckReservationKey(key); err != nil {
		return err
	}
	if err := amount.CheckMovement("/amount"); err != nil {
		return err
	}
	e := a.entry(domain.Reserve, userID, amount, a.now())
	e.ReservationKey = key
	err := a.DB.Tx(ctx, func(ctx context.Context) error { return a.Store.Reserve(ctx, e) })
	switch {
	case errors.Is(err, store.ErrReservationExists), errors.Is(err, store.ErrNotChargeable), errors.Is(err, domain.ErrInsufficientCredit):
		return a.refusedReservation(ctx, e, err)
	default:
		return err
	}
}

// refusedReservation finds out what the database's refusal means to the caller. The key comes first, because the answer to
// a repetition must not depend on what has become of the account.
func (a *App) refusedReservation(ctx context.Context, e domain.Entry, refusal error) error {
	r, found, err := a.Store.Reservation(ctx, e.ReservationKey)
	if err != nil {
		return err
	}
	if found {
		return r.Repeat(domain.Reservation{UserID: e.UserID, Amount: e.Amount})
	}
	u, err := a.Store.User(ctx, e.UserID)
	if err != nil {
		return err
	}
	if u.Disabled {
		return domain.ErrUserDisabled
	}
	account, err := a.Store.Account(ctx, e.UserID)
	if err != nil {
		return err
	}
	switch {
	case account.Currency != e.Amount.Currency:
		return domain.ErrCurrencyMismatch
	case errors.Is(refusal, domain.ErrInsufficientCredit):
		return domain.ErrInsufficientCredit
	default: // the user was enabled in between
		return fault.New(fault.Unavailable, "", "the user has just been changed: try again").Wrap(refusal)
	}
}
