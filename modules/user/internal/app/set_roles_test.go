package app_test

import (
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"cleave/modules/user/internal/domain"
	userv1 "cleave/modules/user/v1"
	"cleave/platform/db"
	"cleave/platform/db/dbtest"
	"cleave/platform/fault"
)

func TestSetRoles(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		t.Parallel()
		f := setup(t, c)
		ctx := staff(t)
		root, u := f.user(t, domain.RoleAdmin), f.user(t)
		both := []string{domain.RoleSupport, domain.RoleCustomer}

		got, err := f.SetRoles(ctx, u.ID, u.Version, both)
		require.NoError(t, err)
		require.Equal(t, []string{domain.RoleCustomer, domain.RoleSupport}, got.Roles)
		require.EqualValues(t, 2, got.Version)
		read, err := f.User(ctx, u.ID)
		require.NoError(t, err)
		require.Equal(t, got, read)
		require.EqualValues(t, 1, f.events(t, userv1.RolesChanged, u.ID))
		require.EqualValues(t, 1, f.count(t, "SELECT count(*) FROM audit WHERE action = 'user:role:set' AND detail LIKE '%customer support%'"))

		again, err := f.SetRoles(ctx, u.ID, 2, both)
		require.NoError(t, err)
		require.Equal(t, got, again, "nothing changes")
		require.EqualValues(t, 1, f.events(t, userv1.RolesChanged, u.ID))

		_, err = f.SetRoles(ctx, u.ID, 1, []string{domain.RoleAdmin})
		require.ErrorIs(t, err, domain.ErrStale)
		_, err = f.SetRoles(ctx, f.NewID(), 1, both)
		require.ErrorIs(t, err, domain.ErrUserNotFound)
		for code, roles := range map[string][]string{
			"role_unknown": {domain.RoleCustomer, "service"}, "duplicate": {domain.RoleAdmin, domain.RoleAdmin}, "too_short": nil,
		} {
			_, err = f.SetRoles(ctx, u.ID, 2, roles)
			require.Equal(t, fault.Unprocessable, fault.From(err).Kind)
			require.Equal(t, "/roles", fault.From(err).Fields[0].Path)
			require.Equal(t, code, fault.From(err).Fields[0].Code)
		}

		_, err = f.SetRoles(ctx, root.ID, root.Version, both)
		require.ErrorIs(t, err, domain.ErrLastAdmin)
		second := f.user(t, domain.RoleAdmin)
		_, err = f.DisableUser(ctx, root.ID, second.ID)
		require.NoError(t, err)
		_, err = f.SetRoles(ctx, root.ID, root.Version, both)
		require.ErrorIs(t, err, domain.ErrLastAdmin, "the other one is disabled")
		_, err = f.EnableUser(ctx, second.ID)
		require.NoError(t, err)
		got, err = f.SetRoles(ctx, root.ID, root.Version, both)
		require.NoError(t, err, "there is another administrator")
		require.False(t, got.IsAdmin())
	})
}

// TestSetRoles_EachOther has 8 administrators take the role from each other in a ring: one always remains.
func TestSetRoles_EachOther(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		t.Parallel()
		f := setup(t, c)
		admins := make([]domain.User, 8)
		for i := range admins {
			admins[i] = f.user(t, domain.RoleAdmin)
		}
		var done atomic.Int64
		g, ctx := errgroup.WithContext(staff(t))
		for n := range 16 {
			g.Go(func() error {
				_, err := f.SetRoles(ctx, admins[n%8].ID, 1, []string{domain.RoleCustomer})
				return tally(&done, err, domain.ErrLastAdmin, domain.ErrStale)
			})
		}
		require.NoError(t, g.Wait())
		require.EqualValues(t, 7, done.Load())
		require.EqualValues(t, 1, f.count(t, "SELECT count(*) FROM user_roles WHERE role = 'admin'"))
	})
}
