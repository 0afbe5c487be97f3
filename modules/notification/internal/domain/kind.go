// Package domain says what users are told, over which channels, and in which
// limits.
package domain

import "slices"

// Kind is what happened.
type Kind string

// The kinds, as the API and the database spell them.
const (
	Registered Kind = "registered"
	Confirmed  Kind = "confirmed"
	Rejected   Kind = "rejected"
	Cancelled  Kind = "cancelled"
	Shipped    Kind = "shipped"
	Disabled   Kind = "disabled"
)

// Kinds returns all kinds, in the order in which preferences list them.
func Kinds() []Kind { return []Kind{Registered, Confirmed, Rejected, Cancelled, Shipped, Disabled} }

// The kinds of mails about the security of an account. They come by mail alone, and nobody can do without them.
const (
	EmailVerification   Kind = "email_verification"
	PasswordReset       Kind = "password_reset"
	PasswordChanged     Kind = "password_changed"
	RegistrationAttempt Kind = "registration_attempt"
	SecondFactorOn      Kind = "second_factor_on"
	SecondFactorOff     Kind = "second_factor_off"
	EmailChanged        Kind = "email_changed"
)

// SecurityKinds returns the kinds of mails about the security of an account.
func SecurityKinds() []Kind {
	return []Kind{EmailVerification, PasswordReset, PasswordChanged, RegistrationAttempt, SecondFactorOn, SecondFactorOff, EmailChanged}
}

// Valid reports whether k is one of Kinds.
func (k Kind) Valid() bool { return slices.Contains(Kinds(), k) }

// Channel is a way to a user.
type Channel string

// The channels, as the API and the database spell them.
const (
	InApp Channel = "in_app"
	Email Channel = "email"
)

// Channels returns all channels, in the order in which preferences list them.
func Channels() []Channel { return []Channel{InApp, Email} }

// Valid reports whether c is one of Channels.
func (c Channel) Valid() bool { return slices.Contains(Channels(), c) }
