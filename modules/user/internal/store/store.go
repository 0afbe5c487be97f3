// Package store keeps users, sessions and credit in the module's database. It alone knows the tables.
//
// Writes need a transaction in the context. Those that report nothing back are queued, so that a constraint they violate may
// appear only at the end of the transaction.
package store

import (
	"cleave/modules/user/internal/domain"
	"cleave/platform/db"
	"cleave/platform/fault"
)

// Store reads and writes the tables of the user module.
type Store struct{ db *db.DB }

// New returns the store in d.
func New(d *db.DB) *Store { return &Store{d} }

// Refusals that a use case answers by looking closer.
var (
	// ErrReservationExists says that the reservation key is in use.
	ErrReservationExists = fault.New(fault.Conflict, "reservation_exists", "the reservation key is in use")
	// ErrNotChargeable says that no account of a user who is not disabled has this user id and this currency.
	ErrNotChargeable = fault.New(fault.Conflict, "not_chargeable", "the account cannot be charged")
)

// Constraints are the refusals that the database itself pronounces.
var Constraints = db.Constraints{
	"users_email_lower_key":    domain.ErrEmailTaken,
	"first_admin_pkey":         domain.ErrFirstAdminExists,
	"accounts_available_check": domain.ErrInsufficientCredit,
	"accounts_granted_check":   domain.ErrCreditLimit,
	"reservations_pkey":        ErrReservationExists,
	"reservations_user_check":  ErrNotChargeable,
}
