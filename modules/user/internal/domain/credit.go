package domain

import (
	"time"

	"cleave/platform/fault"
)

// MaxAmount is the most that an amount, and all that was ever granted to one account, can be. It leaves sums of amounts far
// from the end of int64.
const MaxAmount = 1_000_000_000_000

// Money is an amount in the smallest unit of one currency.
type Money struct {
	MinorUnits int64
	Currency   string // ISO 4217
}

// CheckMovement accepts an amount of 1 to MaxAmount in a currency of three capital letters; others are a fault of kind
// Unprocessable at path.
func (m Money) CheckMovement(path string) error {
	switch {
	case m.MinorUnits < 1:
		return outOfBounds(path+"/minor_units", "too_small", "must be at least 1")
	case m.MinorUnits > MaxAmount:
		return outOfBounds(path+"/minor_units", "too_large", "must be at most 1000000000000")
	}
	if !IsCurrency(m.Currency) {
		return outOfBounds(path+"/currency", "pattern", "must be three capital letters")
	}
	return nil
}

// IsCurrency reports whether s has the form of an ISO 4217 code.
func IsCurrency(s string) bool {
	for i := range len(s) {
		if s[i] < 'A' || s[i] > 'Z' {
			return false
		}
	}
	return len(s) == 3
}

// Account is the state of a user's credit. Always, Granted = Available + Reserved + Captured, and each is the sum of its
// entries in the ledger. The database refuses a state in which one of the parts is negative.
type Account struct {
	UserID    string
	Currency  string
	Granted   int64
	Available int64
	Reserved  int64
	Captured  int64
	Version   int64
}

// EntryKind says what moved: Grant adds to what is available, Reserve moves from available to reserved, Capture from
// reserved to captured, and Release from reserved back to available.
type EntryKind string

// The kinds of entries.
const (
	Grant   EntryKind = "grant"
	Reserve EntryKind = "reserve"
	Capture EntryKind = "capture"
	Release EntryKind = "release"
)

// Entry is a movement in an account. Entries are never changed or removed.
type Entry struct {
	ID             string
	UserID         string
	Kind           EntryKind
	Amount         Money
	ReservationKey string // "" for grants only
	Note           string
	CreatedAt      time.Time
}

// ReservationState is how far a reservation has come. Captured and Released are final.
type ReservationState string

// The states of a reservation.
const (
	Reserved ReservationState = "reserved"
	Captured ReservationState = "captured"
	Released ReservationState = "released"
)

// Reservation is credit held under a key. One that was released before it was ever reserved has neither user nor amount.
type Reservation struct {
	Key    string
	UserID string
	Amount Money
	State  ReservationState
}

// MaxReservationKey is the most characters that a reservation key can have.
const MaxReservationKey = 100

// CheckReservationKey accepts 1 to MaxReservationKey printable ASCII characters other than space; others are a fault of
// kind Unprocessable.
func CheckReservationKey(s string) error {
	ok := s != "" && len(s) <= MaxReservationKey
	for i := range len(s) {
		ok = ok && s[i] > ' ' && s[i] < 0x7f
	}
	if !ok {
		return outOfBounds("/reservation_key", "pattern", "must have 1 to 100 printable ASCII characters")
	}
	return nil
}

// Repeat decides about a second request to reserve under the key of r: nil when it has the same content, and else why not.
func (r Reservation) Repeat(again Reservation) error {
	switch {
	case r.State == Released:
		return ErrReservationReleased
	case r.UserID != again.UserID || r.Amount != again.Amount:
		return ErrReservationMismatch
	}
	return nil
}

// The refusals that have to do with credit.
var (
	ErrUserDisabled        = fault.New(fault.Conflict, "user_disabled", "the user is disabled")
	ErrInsufficientCredit  = fault.New(fault.Conflict, "insufficient_credit", "the user has not enough credit available")
	ErrCurrencyMismatch    = fault.New(fault.Unprocessable, "currency_mismatch", "the account is held in another currency")
	ErrCreditLimit         = fault.New(fault.Unprocessable, "credit_limit", "the account would be granted more than it can hold")
	ErrReservationNotFound = fault.New(fault.NotFound, "reservation_not_found", "there is no reservation under this key")
	ErrReservationReleased = fault.New(fault.Conflict, "reservation_released", "the reservation was released")
	ErrReservationCaptured = fault.New(fault.Conflict, "reservation_captured", "the reservation was captured")
	ErrReservationMismatch = fault.New(fault.Unprocessable, "reservation_mismatch", "the reservation key was used for another user or amount")
)
