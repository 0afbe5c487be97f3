// Package app holds the use cases of the user module, one file for each.
//
// Unless said otherwise, a use case fails with the faults of package domain, and with faults of kind Unavailable, Timeout or
// Internal when the database does.
package app

import (
	"context"
	"time"

	"cleave/modules/user/internal/domain"
	"cleave/modules/user/internal/password"
	"cleave/modules/user/internal/store"
	"cleave/platform/audit"
	"cleave/platform/auth"
	"cleave/platform/db"
	"cleave/platform/event"
)

// Deps are what the use cases stand on. All fields must be set.
type Deps struct {
	DB         *db.DB
	Store      *store.Store
	Events     *event.Publisher
	Audit      *audit.Log
	Passwords  *password.Hasher
	Signer     *auth.Signer
	Issuer     string   // of access tokens
	Audience   []string // the modules
	Now        func() time.Time
	NewID      func() string
	Currency   string        // of new accounts
	SessionTTL time.Duration // from log-in to the end of the session, however often it is refreshed
	// SessionIdle is how long a session lasts whose tokens are not refreshed, and MaxSessions how many a user has at once.
	SessionIdle time.Duration
	MaxSessions int
	FactorRoles []string // the roles that take a second factor
	TokenFile   string   // where the first administrator's token is left

	Secrets Secrets
	// Forget erases what the platform keeps of a user in the module's database: events and answers to repeated requests.
	Forget          func(ctx context.Context, userID string) error
	RequireVerified bool // nobody logs in before their address is verified
}

// App offers the use cases.
type App struct {
	Deps
	mailRequested chan struct{} // has one when a request for a mail has committed since the last look
}

// New returns the use cases on d.
func New(d Deps) *App { return &App{Deps: d, mailRequested: make(chan struct{}, 1)} }

// now is the time as the database keeps it.
func (a *App) now() time.Time { return a.Now().UTC().Truncate(time.Microsecond) }

func (a *App) entry(kind domain.EntryKind, userID string, amount domain.Money, now time.Time) domain.Entry {
	return domain.Entry{ID: a.NewID(), UserID: userID, Kind: kind, Amount: amount, CreatedAt: now}
}

// audited records what was done to a user, in the transaction of ctx.
func (a *App) audited(ctx context.Context, action, userID string, detail map[string]string) error {
	return a.Audit.Append(ctx, audit.Entry{Action: action, Object: "user/" + userID, Detail: detail})
}
