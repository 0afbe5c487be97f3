package app_test

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"cleave/modules/user/internal/app"
	"cleave/modules/user/internal/domain"
	"cleave/modules/user/internal/store"
	userv1 "cleave/modules/user/v1"
	"cleave/platform/db"
	"cleave/platform/db/dbtest"
)

func admin(n int) app.Registration {
	return app.Registration{Email: fmt.Sprintf("root%d@example.com", n), Password: secret, DisplayName: "Grace"}
}

func TestCreateFirstAdmin(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		t.Parallel()
		f := setup(t, c)
		ctx := t.Context()
		token, err := f.OfferFirstAdmin(ctx)
		require.NoError(t, err)
		require.Len(t, token, 43)
		info, err := os.Stat(f.TokenFile)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

		again, err := f.OfferFirstAdmin(ctx)
		require.NoError(t, err)
		require.Equal(t, token, again, "a restart offers the same token")
		require.NoError(t, os.Remove(f.TokenFile))
		other, err := f.OfferFirstAdmin(ctx)
		require.NoError(t, err)
		require.NotEqual(t, token, other, "a replica with another folder has a token of its own")

		_, err = f.CreateFirstAdmin(ctx, "not the token, but as long as one", admin(1))
		require.ErrorIs(t, err, domain.ErrFirstAdminTokenInvalid)
		_, err = f.CreateFirstAdmin(ctx, token, app.Registration{Email: "root@example.com", Password: "short", DisplayName: "Grace"})
		require.Error(t, err)
		require.FileExists(t, f.TokenFile, "a refused attempt does not use the token up")

		var done atomic.Int64
		g, gctx := errgroup.WithContext(ctx)
		for n := range 32 {
			g.Go(func() error {
				_, err := f.CreateFirstAdmin(gctx, []string{token, other}[n%2], admin(n))
				return tally(&done, err, domain.ErrFirstAdminExists, domain.ErrFirstAdminTokenInvalid)
			})
		}
		require.NoError(t, g.Wait())
		require.EqualValues(t, 1, done.Load())
		require.EqualValues(t, 1, f.count(t, "SELECT count(*) FROM users"))
		require.Zero(t, f.count(t, "SELECT count(*) FROM first_admin_tokens"))
		require.NoFileExists(t, f.TokenFile)

		for _, used := range []string{token, other, "not the token, but as long as one"} {
			_, err = f.CreateFirstAdmin(ctx, used, admin(99))
			require.ErrorIs(t, err, domain.ErrFirstAdminExists)
		}
		require.NoError(t, os.WriteFile(f.TokenFile, []byte(token), 0o600))
		token, err = f.OfferFirstAdmin(ctx)
		require.NoError(t, err)
		require.Empty(t, token)
		require.NoFileExists(t, f.TokenFile)
	})
}

func TestDisableUser(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		t.Parallel()
		f := setup(t, c)
		ctx := staff(t)
		root, u := f.user(t, domain.RoleAdmin), f.user(t)

		got, err := f.DisableUser(ctx, root.ID, u.ID)
		require.NoError(t, err)
		require.True(t, got.Disabled)
		require.EqualValues(t, 2, got.Version)
		again, err := f.DisableUser(ctx, root.ID, u.ID)
		require.NoError(t, err)
		require.Equal(t, got, again)
		require.EqualValues(t, 1, f.events(t, userv1.Disabled, u.ID))

		got, err = f.EnableUser(ctx, u.ID)
		require.NoError(t, err)
		require.False(t, got.Disabled)
		_, err = f.EnableUser(ctx, u.ID)
		require.NoError(t, err)
		require.EqualValues(t, 1, f.events(t, userv1.Enabled, u.ID))

		_, err = f.DisableUser(ctx, root.ID, f.NewID())
		require.ErrorIs(t, err, domain.ErrUserNotFound)
		_, err = f.EnableUser(ctx, f.NewID())
		require.ErrorIs(t, err, domain.ErrUserNotFound)
		_, err = f.DisableUser(ctx, root.ID, root.ID)
		require.ErrorIs(t, err, domain.ErrDisableSelf)
		_, err = f.DisableUser(ctx, u.ID, root.ID)
		require.ErrorIs(t, err, domain.ErrLastAdmin)

		second := f.user(t, domain.RoleAdmin)
		_, err = f.DisableUser(ctx, second.ID, root.ID)
		require.NoError(t, err, "there is another administrator")
		_, err = f.DisableUser(ctx, root.ID, second.ID)
		require.ErrorIs(t, err, domain.ErrLastAdmin, "the other one is disabled")
	})
}

// TestDisableEachOther has 8 administrators disable each other in a ring: one always remains.
func TestDisableEachOther(t *testing.T) {
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
		for n := range 32 {
			g.Go(func() error {
				_, err := f.DisableUser(ctx, admins[n%8].ID, admins[(n+1+n/8)%8].ID)
				return tally(&done, err, domain.ErrLastAdmin, domain.ErrDisableSelf)
			})
		}
		require.NoError(t, g.Wait())
		require.Positive(t, f.count(t, "SELECT count(*) FROM users WHERE NOT disabled"))
	})
}

func TestUpdateProfile(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		t.Parallel()
		f := setup(t, c)
		ctx := t.Context()
		u := f.user(t)
		name, email, bad := "Ada King", "ada@king.example", "nonsense"

		got, err := f.UpdateProfile(ctx, u.ID, 1, app.ProfileChange{DisplayName: &name})
		require.NoError(t, err)
		require.Equal(t, name, got.DisplayName)
		require.Equal(t, u.Email, got.Email)
		require.EqualValues(t, 2, got.Version)
		stored, err := f.User(ctx, u.ID)
		require.NoError(t, err)
		require.Equal(t, got, stored)
		require.EqualValues(t, 1, f.events(t, userv1.ProfileChanged, u.ID))

		got, err = f.UpdateProfile(ctx, u.ID, 2, app.ProfileChange{DisplayName: &name})
		require.NoError(t, err)
		require.EqualValues(t, 2, got.Version, "nothing changed")
		require.EqualValues(t, 1, f.events(t, userv1.ProfileChanged, u.ID))

		_, err = f.UpdateProfile(ctx, u.ID, 1, app.ProfileChange{DisplayName: &email})
		require.ErrorIs(t, err, domain.ErrStale)
		_, err = f.UpdateProfile(ctx, u.ID, 2, app.ProfileChange{Email: &bad})
		require.Error(t, err)
		_, err = f.UpdateProfile(ctx, f.NewID(), 1, app.ProfileChange{DisplayName: &name})
		require.ErrorIs(t, err, domain.ErrNoAccount)

		var done atomic.Int64
		g, gctx := errgroup.WithContext(ctx)
		for n := range 32 {
			g.Go(func() error {
				name := fmt.Sprint("Name ", n)
				_, err := f.UpdateProfile(gctx, u.ID, 2, app.ProfileChange{DisplayName: &name})
				return tally(&done, err, domain.ErrStale)
			})
		}
		require.NoError(t, g.Wait())
		require.EqualValues(t, 1, done.Load(), "of 32 changes to one version one is made")
	})
}

func TestListUsers(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		t.Parallel()
		f := setup(t, c)
		ctx := staff(t)
		now := f.Now().UTC().Truncate(time.Microsecond)
		var want []string
		for i := range 7 { // four of them in the same microsecond
			u := domain.NewUser(f.NewID(), domain.Email(fmt.Sprintf("u%d_%%@example.com", i)), fmt.Sprintf("Üser %d", i), "", now.Add(time.Duration(i/4)*time.Second))
			require.NoError(t, f.db.Tx(ctx, func(ctx context.Context) error { return f.Store.InsertUser(ctx, u, "EUR") }))
			want = append([]string{u.ID}, want...)
		}
		_, err := f.DisableUser(ctx, "", want[3])
		require.NoError(t, err)

		read := func(filter store.UserFilter, limit int) (ids []string, pages int) {
			p := store.Page{Limit: limit}
			for {
				users, more, err := f.ListUsers(ctx, filter, p)
				require.NoError(t, err)
				pages++
				for _, u := range users {
					ids = append(ids, u.ID)
				}
				if !more {
					return ids, pages
				}
				require.Len(t, users, limit)
				p.Before, p.BeforeID = db.Micros(users[limit-1].CreatedAt), users[limit-1].ID
			}
		}
		for _, limit := range []int{1, 2, 3, 7, 100} {
			ids, pages := read(store.UserFilter{}, limit)
			require.Equal(t, want, ids)
			require.Equal(t, max((7+limit-1)/limit, 1), pages)
		}
		yes, no := true, false
		for name, c := range map[string]struct {
			filter store.UserFilter
			want   []string
		}{
			"Disabled":      {store.UserFilter{Disabled: &yes}, want[3:4]},
			"NotDisabled":   {store.UserFilter{Disabled: &no}, append(append([]string(nil), want[:3]...), want[4:]...)},
			"Email":         {store.UserFilter{Text: "U6_"}, want[:1]},
			"Name":          {store.UserFilter{Text: "üSER 0"}, want[6:]},
			"LiteralWild":   {store.UserFilter{Text: "_%@"}, want},
			"NotAWildcard":  {store.UserFilter{Text: "u%example"}, nil},
			"NotAWildcard2": {store.UserFilter{Text: "u__@"}, nil},
			"Backslash":     {store.UserFilter{Text: `\`}, nil},
			"Both":          {store.UserFilter{Text: "u3", Disabled: &yes}, want[3:4]},
		} {
			t.Run(name, func(t *testing.T) {
				ids, _ := read(c.filter, 3)
				require.Equal(t, c.want, ids)
			})
		}
	})
}
