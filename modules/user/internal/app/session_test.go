package app_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"cleave/modules/user/internal/app"
	"cleave/modules/user/internal/domain"
	userv1 "cleave/modules/user/v1"
	"cleave/platform/auth"
	"cleave/platform/db"
	"cleave/platform/db/dbtest"
	"cleave/platform/fault"
)

const secret = "correct horse"

// registered is a user who can log in.
func (f *fixture) registered(t *testing.T, email string) domain.User {
	t.Helper()
	u, err := f.Register(t.Context(), app.Registration{Email: email, Password: secret, DisplayName: "Ada"})
	require.NoError(t, err)
	return u
}

func (f *fixture) login(t *testing.T, u domain.User) app.Tokens {
	t.Helper()
	tokens, err := f.LogIn(t.Context(), string(u.Email), secret)
	require.NoError(t, err)
	return tokens
}

func (f *fixture) principal(t *testing.T, tokens app.Tokens) auth.Principal {
	t.Helper()
	p, err := auth.NewVerifier(f.ring, "http://issuer", "user", &auth.Revocations{}, time.Now).Verify(t.Context(), tokens.Access)
	require.NoError(t, err)
	return p
}

func TestRegister(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		t.Parallel()
		f := setup(t, c)
		u := f.registered(t, "Ada@Example.com")
		stored, err := f.User(t.Context(), u.ID)
		require.NoError(t, err)
		require.Equal(t, u, stored, "what is answered is what is stored")
		require.Equal(t, []string{domain.RoleCustomer}, u.Roles)
		require.Equal(t, domain.Email("Ada@Example.com"), u.Email)
		f.credit(t, u, 0, 0, 0)
		require.EqualValues(t, 1, f.events(t, userv1.Registered, u.ID))

		for name, r := range map[string]app.Registration{
			"BadEmail":       {Email: "ada", Password: secret, DisplayName: "Eve"},
			"ShortPassword":  {Email: "eve@example.com", Password: "1234567", DisplayName: "Eve"},
			"CommonPassword": {Email: "eve@example.com", Password: "Trustno1", DisplayName: "Eve"},
			"OwnName":        {Email: "eve@example.com", Password: "Babbage1791", DisplayName: "Eve Babbage"},
			"NoName":         {Email: "eve@example.com", Password: secret},
		} {
			t.Run(name, func(t *testing.T) {
				_, err := f.Register(t.Context(), r)
				require.Equal(t, fault.Unprocessable, fault.KindOf(err))
			})
		}
		require.EqualValues(t, 1, f.count(t, "SELECT count(*) FROM users"))
		require.EqualValues(t, 2, f.count(t, "SELECT count(*) FROM outbox"), "registered, and asked to verify")
	})
}

func TestRegisterOnce(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		t.Parallel()
		f := setup(t, c)
		g, ctx := errgroup.WithContext(t.Context())
		for range 16 {
			g.Go(func() error {
				_, err := f.Register(ctx, app.Registration{Email: "ada@example.com", Password: secret, DisplayName: "Ada"})
				return err
			})
		}
		require.NoError(t, g.Wait(), "nobody learns that others were faster")
		require.EqualValues(t, 1, f.count(t, "SELECT count(*) FROM accounts"))
		owner, err := f.Store.UserByEmail(t.Context(), "ada@example.com")
		require.NoError(t, err)
		require.EqualValues(t, 1, f.events(t, userv1.Registered, owner.ID))
		require.EqualValues(t, 15, f.events(t, userv1.RegistrationAttempted, owner.ID))
	})
}

func TestLogIn(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		t.Parallel()
		f := setup(t, c)
		ctx := t.Context()
		u := f.registered(t, "ada@example.com")
		tokens, err := f.LogIn(ctx, "ADA@example.com", secret)
		require.NoError(t, err)
		p := f.principal(t, tokens)
		require.Equal(t, u.ID, p.Subject)
		require.Equal(t, u.Roles, p.Roles)
		require.EqualValues(t, 1, f.count(t, "SELECT count(*) FROM sessions WHERE id = ?", p.Session))
		require.Zero(t, f.count(t, "SELECT count(*) FROM refresh_tokens WHERE hash = ?", tokens.Refresh), "only hashes are kept")

		_, err = f.LogIn(ctx, "ada@example.com", "wrong password")
		require.ErrorIs(t, err, domain.ErrCredentials)
		_, err = f.LogIn(ctx, "eve@example.com", secret)
		require.ErrorIs(t, err, domain.ErrCredentials)

		_, err = f.DisableUser(staff(t), f.NewID(), u.ID)
		require.NoError(t, err)
		_, err = f.LogIn(ctx, "ada@example.com", "wrong password")
		require.ErrorIs(t, err, domain.ErrCredentials, "only the right password tells")
		_, err = f.LogIn(ctx, "ada@example.com", secret)
		require.ErrorIs(t, err, domain.ErrLogInDisabled)
	})
}

func TestRefreshSession(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		t.Parallel()
		f := setup(t, c)
		ctx := staff(t)
		u := f.registered(t, "ada@example.com")

		t.Run("Rotates", func(t *testing.T) {
			first := f.login(t, u)
			second, err := f.RefreshSession(ctx, first.Refresh, "")
			require.NoError(t, err)
			require.NotEqual(t, first.Refresh, second.Refresh)
			require.Equal(t, f.principal(t, first).Session, f.principal(t, second).Session, "the session stays")
			_, err = f.RefreshSession(ctx, second.Refresh, "")
			require.NoError(t, err)
		})
		t.Run("ReuseEndsTheSession", func(t *testing.T) {
			first, other := f.login(t, u), f.login(t, u)
			second, err := f.RefreshSession(ctx, first.Refresh, "")
			require.NoError(t, err)
			_, err = f.RefreshSession(ctx, first.Refresh, "")
			require.ErrorIs(t, err, domain.ErrRefreshToken)
			_, err = f.RefreshSession(ctx, second.Refresh, "")
			require.ErrorIs(t, err, domain.ErrRefreshToken, "the thief's token ends as well")
			_, err = f.RefreshSession(ctx, other.Refresh, "")
			require.NoError(t, err, "another session goes on")
		})
		t.Run("SameRequestAgain", func(t *testing.T) {
			first := f.login(t, u)
			second, err := f.RefreshSession(ctx, first.Refresh, "key")
			require.NoError(t, err)
			_, err = f.RefreshSession(ctx, first.Refresh, "key")
			require.ErrorIs(t, err, domain.ErrRefreshToken)
			third, err := f.RefreshSession(ctx, second.Refresh, "")
			require.NoError(t, err, "the session goes on")
			_, err = f.RefreshSession(ctx, first.Refresh, "another key")
			require.ErrorIs(t, err, domain.ErrRefreshToken)
			_, err = f.RefreshSession(ctx, third.Refresh, "")
			require.ErrorIs(t, err, domain.ErrRefreshToken, "another request has ended it")
		})
		t.Run("ReuseInsideAUnitOfWork", func(t *testing.T) {
			first := f.login(t, u)
			second, err := f.RefreshSession(ctx, first.Refresh, "")
			require.NoError(t, err)
			err = f.db.Lazy(ctx, func(ctx context.Context) error {
				_, err := f.RefreshSession(ctx, first.Refresh, "")
				return err
			})
			require.ErrorIs(t, err, domain.ErrRefreshToken)
			_, err = f.RefreshSession(ctx, second.Refresh, "")
			require.ErrorIs(t, err, domain.ErrRefreshToken, "the end of the session outlives the refused request")
		})
		t.Run("Unknown", func(t *testing.T) {
			_, err := f.RefreshSession(ctx, "not a token", "")
			require.ErrorIs(t, err, domain.ErrRefreshToken)
		})
		t.Run("AfterLogOut", func(t *testing.T) {
			tokens := f.login(t, u)
			require.NoError(t, f.LogOut(ctx, f.principal(t, tokens)))
			require.NoError(t, f.LogOut(ctx, f.principal(t, tokens)))
			_, err := f.RefreshSession(ctx, tokens.Refresh, "")
			require.ErrorIs(t, err, domain.ErrRefreshToken)
		})
		t.Run("LogOutOfSomeoneElsesSession", func(t *testing.T) {
			tokens := f.login(t, u)
			p := f.principal(t, tokens)
			p.Subject = f.NewID()
			require.NoError(t, f.LogOut(ctx, p))
			_, err := f.RefreshSession(ctx, tokens.Refresh, "")
			require.NoError(t, err)
		})
		t.Run("Disabled", func(t *testing.T) {
			v := f.registered(t, "eve@example.com")
			tokens := f.login(t, v)
			_, err := f.DisableUser(staff(t), u.ID, v.ID)
			require.NoError(t, err)
			_, err = f.RefreshSession(ctx, tokens.Refresh, "")
			require.ErrorIs(t, err, domain.ErrRefreshToken)
			_, err = f.EnableUser(staff(t), v.ID)
			require.NoError(t, err)
			_, err = f.RefreshSession(ctx, tokens.Refresh, "")
			require.ErrorIs(t, err, domain.ErrRefreshToken, "the sessions before stay ended")
			f.login(t, v)
		})
		t.Run("Expired", func(t *testing.T) {
			tokens := f.login(t, u)
			f.clock.Add(int64(sessionTTL))
			_, err := f.RefreshSession(ctx, tokens.Refresh, "")
			require.ErrorIs(t, err, domain.ErrRefreshToken)
		})
	})
}

// TestRefreshOnce has 32 callers present one token: at most one gets a pair, and the session has ended.
func TestRefreshOnce(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		t.Parallel()
		f := setup(t, c)
		tokens := f.login(t, f.registered(t, "ada@example.com"))
		var mu sync.Mutex
		var pairs []app.Tokens
		g, ctx := errgroup.WithContext(t.Context())
		for range 32 {
			g.Go(func() error {
				pair, err := f.RefreshSession(ctx, tokens.Refresh, "")
				if errors.Is(err, domain.ErrRefreshToken) {
					return nil
				}
				mu.Lock()
				defer mu.Unlock()
				pairs = append(pairs, pair)
				return err
			})
		}
		require.NoError(t, g.Wait())
		require.Len(t, pairs, 1)
		_, err := f.RefreshSession(t.Context(), pairs[0].Refresh, "")
		require.ErrorIs(t, err, domain.ErrRefreshToken)
	})
}

func TestPurgeSessions(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		t.Parallel()
		f := setup(t, c)
		u := f.registered(t, "ada@example.com")
		old := f.login(t, u)
		_, err := f.RefreshSession(t.Context(), old.Refresh, "")
		require.NoError(t, err)
		f.clock.Add(int64(sessionTTL / 2))
		young := f.login(t, u)
		f.clock.Add(int64(sessionTTL/2) + int64(time.Minute))

		n, err := f.Store.PurgeSessions(t.Context(), f.Now(), 10)
		require.NoError(t, err)
		require.EqualValues(t, 1, n)
		require.EqualValues(t, 1, f.count(t, "SELECT count(*) FROM refresh_tokens"))
		_, err = f.RefreshSession(t.Context(), young.Refresh, "")
		require.NoError(t, err)
	})
}

// TestLogInWhileDisabled disables the user while the password is being checked: whatever wins, no session is left to use.
func TestLogInWhileDisabled(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		t.Parallel()
		f := setup(t, c)
		for i := range 4 {
			u := f.registered(t, fmt.Sprintf("ada%d@example.com", i))
			var tokens app.Tokens
			var logIn error
			var g errgroup.Group
			g.Go(func() error {
				tokens, logIn = f.LogIn(t.Context(), string(u.Email), secret)
				return nil
			})
			g.Go(func() error {
				_, err := f.DisableUser(staff(t), f.NewID(), u.ID)
				return err
			})
			require.NoError(t, g.Wait())
			require.Zero(t, f.count(t, "SELECT count(*) FROM sessions WHERE user_id = ? AND revoked_at = 0", u.ID))
			if logIn != nil {
				require.ErrorIs(t, logIn, domain.ErrLogInDisabled)
				continue
			}
			_, err := f.RefreshSession(t.Context(), tokens.Refresh, "")
			require.ErrorIs(t, err, domain.ErrRefreshToken)
		}
	})
}
