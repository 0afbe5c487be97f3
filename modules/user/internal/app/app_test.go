package app_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cleave/modules/user/internal/app"
	"cleave/modules/user/internal/domain"
	"cleave/modules/user/internal/keys"
	"cleave/modules/user/internal/ledgertest"
	"cleave/modules/user/internal/password"
	"cleave/modules/user/internal/store"
	"cleave/modules/user/migrations"
	userv1 "cleave/modules/user/v1"
	"cleave/platform/audit"
	"cleave/platform/auth"
	"cleave/platform/db"
	"cleave/platform/db/dbtest"
	"cleave/platform/event"
	"cleave/platform/module"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// fixture is the module's use cases on a real database.
type fixture struct {
	*app.App
	db    *db.DB
	ring  *keys.Ring
	clock atomic.Int64 // added to the time, in nanoseconds
	users atomic.Int64
}

var published = []event.Type{
	userv1.Registered, userv1.ProfileChanged, userv1.Disabled, userv1.Enabled, userv1.Revoked,
	userv1.EmailVerificationRequested, userv1.PasswordResetRequested, userv1.PasswordChanged, userv1.RegistrationAttempted,
	userv1.SecondFactorChanged, userv1.Deleted, userv1.RolesChanged, userv1.EmailChanged,
}

const (
	sessionTTL  = time.Hour
	maxSessions = 8
)

// setup checks the ledger when the test has ended.
func setup(t *testing.T, c db.Config) *fixture {
	t.Helper()
	f := &fixture{db: dbtest.Open(t, c, "user", migrations.FS, store.Constraints)}
	s := store.New(f.db)
	now := func() time.Time { return time.Now().Add(time.Duration(f.clock.Load())) }
	bus := event.NewBus(event.Options{Log: slog.New(slog.DiscardHandler), Now: now, NewID: module.NewID})
	signer := f.signer(t, now)
	f.App = app.New(app.Deps{
		Secrets: f.ring, Forget: func(ctx context.Context, id string) error { return event.Erase(ctx, f.db, id) },
		DB: f.db, Store: s, Events: bus.Publisher("user", f.db, published), Passwords: password.New(2, domain.ErrPasswordsBusy, nil),
		Signer: signer, Issuer: "http://issuer", Audience: []string{"user"}, Now: now, NewID: module.NewID, Currency: "EUR", SessionTTL: sessionTTL, SessionIdle: sessionTTL, MaxSessions: maxSessions,
		TokenFile: filepath.Join(t.TempDir(), "token"), Audit: audit.New(f.db, "http://issuer", now),
	})
	t.Cleanup(func() { ledgertest.Check(t, f.db) })
	return f
}

// staff is the context of a request by somebody who may do everything.
func staff(t *testing.T) context.Context {
	t.Helper()
	return auth.With(t.Context(), auth.Principal{Subject: "staff"})
}

func (f *fixture) signer(t *testing.T, now func() time.Time) *auth.Signer {
	t.Helper()
	var err error
	f.ring, err = keys.Open(t.Context(), keys.Options{DB: f.db, Store: store.New(f.db), Log: slog.New(slog.DiscardHandler), Now: now})
	require.NoError(t, err)
	return auth.NewSigner(f.ring.Signing, "http://issuer", []string{"user"}, time.Minute, time.Now)
}

// user stores a user without the cost of a password hash.
func (f *fixture) user(t *testing.T, roles ...string) domain.User {
	t.Helper()
	email := domain.Email(fmt.Sprintf("user%d@example.com", f.users.Add(1)))
	u := domain.NewUser(f.NewID(), email, "A User", "no hash", f.Now().UTC().Truncate(time.Microsecond), append(roles, domain.RoleCustomer)...)
	require.NoError(t, f.db.Tx(t.Context(), func(ctx context.Context) error { return f.Store.InsertUser(ctx, u, "EUR") }))
	return u
}

// rich stores a user with an amount of credit available.
func (f *fixture) rich(t *testing.T, amount int64) domain.User {
	t.Helper()
	u := f.user(t)
	_, err := f.TopUpCredit(staff(t), u.ID, eur(amount), "")
	require.NoError(t, err)
	return u
}

// credit asserts the state of an account.
func (f *fixture) credit(t *testing.T, u domain.User, available, reserved, captured int64) {
	t.Helper()
	a, err := f.Credit(t.Context(), u.ID)
	require.NoError(t, err)
	require.Equal(t, [3]int64{available, reserved, captured}, [3]int64{a.Available, a.Reserved, a.Captured}, "available, reserved, captured")
}

// count is the number that a query gives.
func (f *fixture) count(t *testing.T, query string, args ...any) (n int64) {
	t.Helper()
	require.NoError(t, f.db.Conn(t.Context()).Raw(query, args...).Scan(&n).Error)
	return n
}

// events is how many events of a type wait in the outbox under a key.
func (f *fixture) events(t *testing.T, e event.Type, key string) int64 {
	t.Helper()
	return f.count(t, "SELECT count(*) FROM outbox WHERE type = ? AND key = ?", e.Name(), key)
}

func eur(amount int64) domain.Money { return domain.Money{MinorUnits: amount, Currency: "EUR"} }
