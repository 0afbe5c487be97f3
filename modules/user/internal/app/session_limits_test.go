package app_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"cleave/modules/user/internal/app"
	"cleave/modules/user/internal/domain"
	userv1 "cleave/modules/user/v1"
)

// TestIdle renews one session and leaves another alone.
func TestIdle(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		f.SessionIdle = 10 * time.Minute
		ctx, u := t.Context(), f.registered(t, "ada@example.com")
		used, left := f.login(t, u), f.login(t, u)
		for range 3 {
			f.clock.Add(int64(9 * time.Minute))
			var err error
			used, err = f.RefreshSession(ctx, used.Refresh, "")
			require.NoError(t, err, "a session that is used goes on")
		}
		_, err := f.RefreshSession(ctx, left.Refresh, "")
		require.ErrorIs(t, err, domain.ErrRefreshToken)
		all, err := f.Sessions(ctx, u.ID)
		require.NoError(t, err)
		require.Len(t, all, 1, "it has ended")
		f.clock.Add(int64(10 * time.Minute))
		_, err = f.RefreshSession(ctx, used.Refresh, "")
		require.ErrorIs(t, err, domain.ErrRefreshToken)
	})
}

// TestMaxSessions begins more sessions than a user may have, some of them at once.
func TestMaxSessions(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		ctx, u, stranger := t.Context(), f.registered(t, "ada@example.com"), f.registered(t, "eve@example.com")
		theirs := f.login(t, stranger)
		var mine []app.Tokens
		for range maxSessions {
			f.clock.Add(int64(time.Second))
			mine = append(mine, f.login(t, u))
		}
		f.clock.Add(int64(time.Second))
		var err error
		mine[0], err = f.RefreshSession(ctx, mine[0].Refresh, "")
		require.NoError(t, err)
		require.Zero(t, f.events(t, userv1.Revoked, u.ID))

		f.clock.Add(int64(time.Second))
		var g errgroup.Group
		for range 2 {
			g.Go(func() error {
				_, err := f.LogIn(ctx, string(u.Email), secret)
				return err
			})
		}
		require.NoError(t, g.Wait())
		require.EqualValues(t, maxSessions, f.count(t, "SELECT count(*) FROM sessions WHERE user_id = ? AND revoked_at = 0", u.ID))
		require.EqualValues(t, 2, f.events(t, userv1.Revoked, u.ID), "access tokens end with their session")
		for i, tokens := range mine {
			_, err := f.RefreshSession(ctx, tokens.Refresh, "")
			if i == 1 || i == 2 {
				require.ErrorIs(t, err, domain.ErrRefreshToken, "not used for the longest time")
				continue
			}
			require.NoError(t, err, i)
		}
		_, err = f.RefreshSession(ctx, theirs.Refresh, "")
		require.NoError(t, err, "of another user")
	})
}

// TestEndSessionsOf ends the sessions of one user, and then of all.
func TestEndSessionsOf(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		ctx, u, stranger := staff(t), f.registered(t, "ada@example.com"), f.registered(t, "eve@example.com")
		mine, theirs := []app.Tokens{f.login(t, u), f.login(t, u)}, f.login(t, stranger)
		_, err := f.EndSessionsOf(ctx, f.NewID())
		require.ErrorIs(t, err, domain.ErrUserNotFound)
		n, err := f.EndSessionsOf(ctx, u.ID)
		require.NoError(t, err)
		require.Equal(t, 2, n)
		for _, tokens := range mine {
			_, err := f.RefreshSession(ctx, tokens.Refresh, "")
			require.ErrorIs(t, err, domain.ErrRefreshToken)
		}
		require.EqualValues(t, 2, f.events(t, userv1.Revoked, u.ID))
		ended := func() int64 { return f.count(t, "SELECT count(*) FROM audit WHERE action = 'user:session:end_any'") }
		require.EqualValues(t, 1, ended())
		n, err = f.EndSessionsOf(ctx, u.ID)
		require.NoError(t, err)
		require.Zero(t, n)
		require.EqualValues(t, 1, ended(), "nothing was done")
		theirs, err = f.RefreshSession(ctx, theirs.Refresh, "")
		require.NoError(t, err, "of another user")

		f.login(t, u)
		n, err = f.EndAllSessions(ctx)
		require.NoError(t, err)
		require.Equal(t, 2, n)
		_, err = f.RefreshSession(ctx, theirs.Refresh, "")
		require.ErrorIs(t, err, domain.ErrRefreshToken)
		require.Zero(t, f.count(t, "SELECT count(*) FROM sessions WHERE revoked_at = 0"))
		f.login(t, u)
	})
}

// TestRequireSecondFactor has an administrator without a second factor log in, and enrol one.
func TestRequireSecondFactor(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		ctx, u := staff(t), f.registered(t, "ada@example.com")
		u, err := f.SetRoles(ctx, u.ID, u.Version, []string{domain.RoleAdmin, domain.RoleSupport})
		require.NoError(t, err)
		_, _, err = f.CreateAPIKey(ctx, f.principal(t, f.login(t, u)), secret, app.NewAPIKey{Name: "all", Scopes: []string{"user"}, TTL: time.Hour})
		require.NoError(t, err)
		roles := func(tokens app.Tokens) []string { return slices.Sorted(slices.Values(f.principal(t, tokens).Roles)) }
		before := f.login(t, u)
		require.Equal(t, []string{"admin", "support"}, roles(before))

		f.FactorRoles = []string{domain.RoleAdmin}
		tokens := f.login(t, u)
		require.Equal(t, []string{"support"}, roles(tokens), "what takes no second factor stays")
		f.FactorRoles = []string{domain.RoleAdmin, domain.RoleSupport}
		key, _, err := f.CreateAPIKey(ctx, f.principal(t, tokens), secret, app.NewAPIKey{Name: "more", Scopes: []string{"user"}, TTL: time.Hour})
		require.NoError(t, err)
		traded := func() []string {
			access, err := f.ExchangeAPIKey(ctx, key)
			require.NoError(t, err)
			return slices.Sorted(slices.Values(f.principal(t, app.Tokens{Access: access.Access}).Roles))
		}
		require.Equal(t, []string{"customer"}, roles(f.login(t, u)), "somebody has to be able to enrol")
		require.Equal(t, []string{"customer"}, traded())
		before, err = f.RefreshSession(ctx, before.Refresh, "")
		require.NoError(t, err)
		require.Equal(t, []string{"customer"}, roles(before), "a session of before")

		p := f.principal(t, tokens)
		key2, _, err := f.EnrolSecondFactor(ctx, p, secret)
		require.NoError(t, err)
		tokens, err = f.RefreshSession(ctx, tokens.Refresh, "")
		require.NoError(t, err)
		require.Equal(t, []string{"customer"}, roles(tokens), "it is not in use yet")
		_, err = f.ConfirmSecondFactor(ctx, p, f.code(t, key2))
		require.NoError(t, err)
		tokens, err = f.RefreshSession(ctx, tokens.Refresh, "")
		require.NoError(t, err)
		require.Equal(t, []string{"admin", "support"}, roles(tokens), "the session has shown it")
		require.Equal(t, []string{"admin", "support"}, traded())
		_, err = f.RefreshSession(ctx, before.Refresh, "")
		require.ErrorIs(t, err, domain.ErrRefreshToken, "the other sessions have not")

		f.nextStep()
		require.ErrorIs(t, f.DisableSecondFactor(ctx, p, secret, f.code(t, key2)), domain.ErrFactorRequired)
		f.challenge(t, u)
	})
}
