// Package domain holds the rules of users, their sessions and their credit.
package domain

import (
	"slices"
	"strings"
	"time"
)

// The roles that this module hands out. What each may do is in policy.csv.
const (
	RoleCustomer = "customer"
	RoleSupport  = "support"
	RoleAdmin    = "admin"
)

// Roles are those that a user can have. Machines have the role service, which is no user's.
func Roles() []string { return []string{RoleCustomer, RoleSupport, RoleAdmin} }

// CheckRoles refuses, as Unprocessable at path, a list that names a role twice, one that is not among Roles, or none.
func CheckRoles(path string, roles []string) error {
	if len(roles) == 0 {
		return outOfBounds(path, "too_short", "must name a role: to bar a user, disable them")
	}
	for i, role := range roles {
		switch {
		case !slices.Contains(Roles(), role):
			return outOfBounds(path, "role_unknown", "must be among "+strings.Join(Roles(), ", "))
		case slices.Contains(roles[:i], role):
			return outOfBounds(path, "duplicate", "must name each role once")
		}
	}
	return nil
}

// User is a person who can log in.
type User struct {
	ID            string // a UUID, and the subject of access tokens; the e-mail address is no identity
	Email         Email
	DisplayName   string
	PasswordHash  string // in PHC form
	Roles         []string
	Disabled      bool  // barred from logging in and acting
	EmailVerified bool  // has shown to read mails at the address
	PendingEmail  Email // that the user wants to have instead, once they have shown to read its mails; "" for none
	Version       int64 // from 1, grows with every change
	CreatedAt     time.Time
	UpdatedAt     time.Time
}

// NewUser returns a user at version 1. The address and the name must have been checked.
func NewUser(id string, email Email, displayName, passwordHash string, now time.Time, roles ...string) User {
	return User{
		ID: id, Email: email, DisplayName: displayName, PasswordHash: passwordHash, Roles: roles,
		Version: 1, CreatedAt: now, UpdatedAt: now,
	}
}

// IsAdmin reports whether the user has the role admin.
func (u User) IsAdmin() bool { return slices.Contains(u.Roles, RoleAdmin) }

// Change is what a user asks to have changed; nil keeps what there is.
type Change struct {
	Email       *Email
	DisplayName *string
}

// Apply changes the profile and counts the version up. Another address is pending from now on, and does not take the place of the
// present one yet. It reports false, and changes nothing, when everything is as asked already.
func (u *User) Apply(c Change, now time.Time) bool {
	before := *u
	if c.DisplayName != nil {
		u.DisplayName = *c.DisplayName
	}
	switch {
	case c.Email == nil:
	case c.Email.Lower() == u.Email.Lower():
		u.Email, u.PendingEmail = *c.Email, ""
	default:
		u.PendingEmail = *c.Email
	}
	if u.Email == before.Email && u.PendingEmail == before.PendingEmail && u.DisplayName == before.DisplayName {
		return false
	}
	u.touch(now)
	return true
}

// ConfirmEmail notes that the user reads the mails of an address, which takes the place of the present one if it is the pending one.
// It reports false, and changes nothing, when it is neither, or was confirmed before.
func (u *User) ConfirmEmail(lower string, now time.Time) bool {
	switch {
	case u.PendingEmail != "" && u.PendingEmail.Lower() == lower:
		u.Email, u.PendingEmail = u.PendingEmail, ""
	case u.Email.Lower() != lower || u.EmailVerified:
		return false
	}
	u.EmailVerified = true
	u.touch(now)
	return true
}

// SetDisabled bars the user or lets them in again. It reports false when that is so already.
func (u *User) SetDisabled(disabled bool, now time.Time) bool {
	if u.Disabled == disabled {
		return false
	}
	u.Disabled = disabled
	u.touch(now)
	return true
}

// SetRoles gives the user these roles instead of the present ones, in alphabetical order. It reports false when they are the same.
func (u *User) SetRoles(roles []string, now time.Time) bool {
	roles = slices.Sorted(slices.Values(roles))
	if slices.Equal(roles, slices.Sorted(slices.Values(u.Roles))) {
		return false
	}
	u.Roles = roles
	u.touch(now)
	return true
}

func (u *User) touch(now time.Time) {
	u.Version++
	u.UpdatedAt = now
}
