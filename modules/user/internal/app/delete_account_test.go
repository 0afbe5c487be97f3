package app_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cleave/modules/user/internal/app"
	"cleave/modules/user/internal/domain"
	userv1 "cleave/modules/user/v1"
	"cleave/platform/auth"
)

func TestDeleteAccount(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		g := f.guarded(t, "ada@example.com")
		ctx := auth.With(t.Context(), g.p)
		_, err := f.TopUpCredit(staff(t), g.ID, eur(1000), "for Ada")
		require.NoError(t, err)
		for _, key := range []string{"captured", "open", "released"} {
			require.NoError(t, f.ReserveCredit(ctx, key, g.ID, eur(100)))
		}
		require.NoError(t, f.CaptureCredit(ctx, "captured"))
		require.NoError(t, f.ReleaseCredit(ctx, "released"))
		key, _, err := f.CreateAPIKey(ctx, g.p, secret, app.NewAPIKey{Name: "Report", Scopes: []string{"order"}, TTL: time.Hour})
		require.NoError(t, err)

		require.ErrorIs(t, f.DeleteAccount(ctx, g.p, "wrong horse", ""), domain.ErrPasswordWrong)
		require.ErrorIs(t, f.DeleteAccount(ctx, g.p, secret, ""), domain.ErrCodeRequired)
		require.ErrorIs(t, f.DeleteAccount(ctx, g.p, secret, "000000"), domain.ErrCodeWrong)
		require.NoError(t, f.DeleteAccount(ctx, g.p, secret, f.code(t, g.secret)))

		_, err = f.User(ctx, g.ID)
		require.ErrorIs(t, err, domain.ErrUserNotFound)
		_, err = f.LogIn(ctx, "ada@example.com", secret)
		require.ErrorIs(t, err, domain.ErrCredentials)
		_, err = f.ExchangeAPIKey(ctx, key)
		require.ErrorIs(t, err, domain.ErrAPIKey)
		require.ErrorIs(t, f.DeleteAccount(ctx, g.p, secret, ""), domain.ErrNoAccount, "again")
		require.EqualValues(t, 2, f.count(t, "SELECT count(*) FROM outbox WHERE key = ?", g.ID), "what had not left is gone")
		require.EqualValues(t, 1, f.events(t, userv1.Deleted, g.ID))
		require.EqualValues(t, 1, f.events(t, userv1.Revoked, g.ID))

		// The ledger goes on without the person: what was reserved can be captured.
		require.NoError(t, f.CaptureCredit(ctx, "open"))
		require.EqualValues(t, 7, f.count(t, "SELECT count(*) FROM ledger_entries WHERE note = '' AND user_id <> ?", g.ID))
		require.ErrorIs(t, f.ReserveCredit(ctx, "late", g.ID, eur(1)), domain.ErrUserNotFound)
		successor := f.successor(t)
		_, err = f.User(ctx, successor)
		require.ErrorIs(t, err, domain.ErrUserNotFound, "nobody can read what is left")

		again := f.registered(t, "ada@example.com")
		require.NotEqual(t, g.ID, again.ID, "the address is free")
		f.login(t, again)
	})
}

// successor is the id that the only erased user's account has now.
func (f *fixture) successor(t *testing.T) (id string) {
	t.Helper()
	require.NoError(t, f.db.Conn(t.Context()).Raw("SELECT id FROM users WHERE erased_at <> 0").Scan(&id).Error)
	require.NotEmpty(t, id)
	return id
}

func TestDeleteAccount_LastAdmin(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		token, err := f.OfferFirstAdmin(ctx)
		require.NoError(t, err)
		root, err := f.CreateFirstAdmin(ctx, token, app.Registration{Email: "root@example.com", Password: secret, DisplayName: "Grace"})
		require.NoError(t, err)
		p := auth.Principal{Subject: root.ID}
		ctx = auth.With(ctx, p)
		require.ErrorIs(t, f.DeleteAccount(ctx, p, secret, ""), domain.ErrLastAdminLeaves)
		f.user(t, domain.RoleAdmin)
		require.NoError(t, f.DeleteAccount(ctx, p, secret, ""))
		_, err = f.CreateFirstAdmin(ctx, token, app.Registration{Email: "eve@example.com", Password: secret, DisplayName: "Eve"})
		require.ErrorIs(t, err, domain.ErrFirstAdminExists, "there was one")
	})
}

// TestLedgerStaysAppendOnly tries what the erasure of a user must not open: entries change hands to nobody but erased users.
func TestLedgerStaysAppendOnly(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		rich, other := f.rich(t, 100), f.user(t)
		for _, statement := range []string{
			"UPDATE ledger_entries SET amount = 1", "UPDATE ledger_entries SET note = 'x'", "DELETE FROM ledger_entries",
			"UPDATE ledger_entries SET user_id = '" + other.ID + "'", "UPDATE ledger_entries SET user_id = '" + rich.ID + "'",
		} {
			err := f.exec(t, statement)
			require.ErrorContains(t, err, "append-only", statement)
		}
	})
}

func (f *fixture) exec(t *testing.T, statement string) error {
	t.Helper()
	return f.db.Tx(t.Context(), func(ctx context.Context) error { return f.db.Conn(ctx).Exec(statement).Error })
}
