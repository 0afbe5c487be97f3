package app_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"cleave/modules/user/internal/app"
	"cleave/modules/user/internal/domain"
	userv1 "cleave/modules/user/v1"
	"cleave/platform/db"
	"cleave/platform/db/dbtest"
	"cleave/platform/event"
	"cleave/platform/fault"
)

const other = "another horse"

// mailed is the token in the last event of a type under a key.
func mailed[T interface {
	proto.Message
	GetToken() string
}](t *testing.T, f *fixture, typ event.Type, key string) string {
	t.Helper()
	var row struct{ Payload []byte }
	require.NoError(t, f.db.Conn(t.Context()).Raw("SELECT payload FROM outbox WHERE type = ? AND key = ? ORDER BY seq DESC LIMIT 1", typ.Name(), key).Scan(&row).Error)
	require.NotEmpty(t, row.Payload, "nothing was mailed")
	var zero T
	e := zero.ProtoReflect().New().Interface().(T)
	require.NoError(t, proto.Unmarshal(row.Payload, e))
	require.NotEmpty(t, e.GetToken())
	return e.GetToken()
}

func (f *fixture) verification(t *testing.T, u domain.User) string {
	t.Helper()
	return mailed[*userv1.UserEmailVerificationRequested](t, f, userv1.EmailVerificationRequested, u.ID)
}

func (f *fixture) reset(t *testing.T, u domain.User) string {
	t.Helper()
	require.NoError(t, f.RequestPasswordReset(t.Context(), string(u.Email)))
	require.NoError(t, f.AnswerMailRequests(t.Context()))
	return mailed[*userv1.UserPasswordResetRequested](t, f, userv1.PasswordResetRequested, u.ID)
}

func each(t *testing.T, fn func(t *testing.T, f *fixture)) {
	t.Helper()
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		t.Parallel()
		fn(t, setup(t, c))
	})
}

func TestVerifyEmail(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		u := f.registered(t, "Ada@example.com")
		require.False(t, u.EmailVerified)
		first := f.verification(t, u)
		require.Zero(t, f.count(t, "SELECT count(*) FROM mail_tokens WHERE hash = ?", first), "only hashes are kept")
		require.ErrorIs(t, f.VerifyEmail(ctx, "AAAAAAAAAAAAAAAAAAAAAAAA"), domain.ErrMailToken)
		require.ErrorIs(t, f.ResetPassword(ctx, first, other), domain.ErrMailToken, "a token has one purpose")

		require.NoError(t, f.RequestEmailVerification(ctx, "ADA@example.com"))
		require.NoError(t, f.AnswerMailRequests(ctx))
		again := f.verification(t, u)
		require.NotEqual(t, first, again)
		require.NoError(t, f.VerifyEmail(ctx, again))
		require.EqualValues(t, 1, f.count(t, "SELECT count(*) FROM mail_tokens"), "it is used up, the first one is not")
		require.ErrorIs(t, f.VerifyEmail(ctx, again), domain.ErrMailToken)
		require.ErrorIs(t, f.VerifyEmail(ctx, first), domain.ErrMailToken)
		now, err := f.User(ctx, u.ID)
		require.NoError(t, err)
		require.True(t, now.EmailVerified)
		require.Equal(t, u.Version+1, now.Version)

		before := f.events(t, userv1.EmailVerificationRequested, u.ID)
		require.NoError(t, f.RequestEmailVerification(ctx, "ada@example.com"))
		require.NoError(t, f.RequestEmailVerification(ctx, "eve@example.com"))
		require.NoError(t, f.AnswerMailRequests(ctx))
		require.Equal(t, before, f.events(t, userv1.EmailVerificationRequested, u.ID), "there is nothing to verify")
		require.Equal(t, fault.Unprocessable, fault.KindOf(f.RequestEmailVerification(ctx, "nonsense")))

		upper := "ADA@EXAMPLE.COM"
		now, err = f.UpdateProfile(ctx, u.ID, now.Version, app.ProfileChange{Email: &upper})
		require.NoError(t, err)
		require.True(t, now.EmailVerified, "the same address in another letter case")
	})
}

// TestUpdateProfile_Email goes from one address to another.
func TestUpdateProfile_Email(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		u, owner := f.registered(t, "ada@example.com"), f.registered(t, "eve@example.com")
		first := f.verification(t, u)
		change := func(version int64, address, password string) (domain.User, error) {
			return f.UpdateProfile(ctx, u.ID, version, app.ProfileChange{Email: &address, Password: password})
		}
		_, err := change(1, "lovelace@example.com", "")
		require.ErrorIs(t, err, domain.ErrPasswordMissing)
		_, err = change(1, "lovelace@example.com", "wrong horse battery")
		require.ErrorIs(t, err, domain.ErrPasswordWrong)
		_, err = change(2, "lovelace@example.com", secret)
		require.ErrorIs(t, err, domain.ErrStale)

		now, err := change(1, "Lovelace@example.com", secret)
		require.NoError(t, err)
		require.Equal(t, u.Email, now.Email, "until the new one is verified")
		require.EqualValues(t, "Lovelace@example.com", now.PendingEmail)
		stored, err := f.User(ctx, u.ID)
		require.NoError(t, err)
		require.Equal(t, now, stored)
		require.Zero(t, f.events(t, userv1.ProfileChanged, u.ID))
		second := f.verification(t, u)
		require.NoError(t, f.VerifyEmail(ctx, first), "the present one can still be verified")
		require.NoError(t, f.VerifyEmail(ctx, second))
		now, err = f.User(ctx, u.ID)
		require.NoError(t, err)
		require.EqualValues(t, "Lovelace@example.com", now.Email)
		require.Empty(t, now.PendingEmail)
		require.True(t, now.EmailVerified)
		require.EqualValues(t, 1, f.events(t, userv1.ProfileChanged, u.ID))
		require.EqualValues(t, 1, f.events(t, userv1.EmailChanged, u.ID))
		_, err = f.LogIn(ctx, "lovelace@example.com", secret)
		require.NoError(t, err)
		_, err = f.LogIn(ctx, "ada@example.com", secret)
		require.ErrorIs(t, err, domain.ErrCredentials)

		// The address of somebody else: the same, but that they are told instead.
		taken, err := change(now.Version, "EVE@example.com", secret)
		require.NoError(t, err)
		require.EqualValues(t, "EVE@example.com", taken.PendingEmail)
		require.Equal(t, now.Version+1, taken.Version)
		require.EqualValues(t, 1, f.events(t, userv1.RegistrationAttempted, owner.ID))
		require.EqualValues(t, 2, f.events(t, userv1.EmailVerificationRequested, u.ID), "no token leaves")

		// A token for an address that is wanted no more, or that somebody else was faster to have.
		_, err = change(taken.Version, "one@example.com", secret)
		require.NoError(t, err)
		one := f.verification(t, u)
		again, err := change(taken.Version+1, "two@example.com", secret)
		require.NoError(t, err)
		two := f.verification(t, u)
		require.ErrorIs(t, f.VerifyEmail(ctx, one), domain.ErrMailToken)
		f.registered(t, "two@example.com")
		require.ErrorIs(t, f.VerifyEmail(ctx, two), domain.ErrMailToken)
		back, err := change(again.Version, "lovelace@example.com", "")
		require.NoError(t, err)
		require.Empty(t, back.PendingEmail, "to want the present one is to want no other")
	})
}

func TestVerifyEmail_Expired(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		u := f.registered(t, "ada@example.com")
		token := f.verification(t, u)
		f.clock.Store(int64(24*time.Hour + time.Second))
		require.ErrorIs(t, f.VerifyEmail(t.Context(), token), domain.ErrMailToken)
	})
}

func TestRequireVerifiedEmail(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		f.RequireVerified = true
		u := f.registered(t, "ada@example.com")
		_, err := f.LogIn(t.Context(), "ada@example.com", secret)
		require.ErrorIs(t, err, domain.ErrCredentials, "nothing tells that the address was free")
		require.NoError(t, f.VerifyEmail(t.Context(), f.verification(t, u)))
		f.login(t, u)
	})
}

func TestResetPassword(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		u := f.registered(t, "Ada@example.com")
		session := f.login(t, u)
		spare, token := f.reset(t, u), f.reset(t, u)
		for _, weak := range []string{"short", "password1", "adaadaada"} {
			require.Equal(t, fault.Unprocessable, fault.KindOf(f.ResetPassword(ctx, token, weak)), weak)
		}
		require.NoError(t, f.ResetPassword(ctx, token, other), "a refused password leaves the token good")
		require.ErrorIs(t, f.ResetPassword(ctx, token, secret), domain.ErrMailToken)
		require.ErrorIs(t, f.ResetPassword(ctx, spare, secret), domain.ErrMailToken, "the others end with it")
		_, err := f.LogIn(ctx, "ada@example.com", secret)
		require.ErrorIs(t, err, domain.ErrCredentials)
		_, err = f.LogIn(ctx, "ada@example.com", other)
		require.NoError(t, err)
		_, err = f.RefreshSession(ctx, session.Refresh, "")
		require.ErrorIs(t, err, domain.ErrRefreshToken, "all sessions end")
		require.EqualValues(t, 1, f.events(t, userv1.PasswordChanged, u.ID))
		now, err := f.User(ctx, u.ID)
		require.NoError(t, err)
		require.True(t, now.EmailVerified, "the user reads the mails of the address")

		token = f.reset(t, u)
		f.clock.Store(int64(20*time.Minute + time.Second))
		require.ErrorIs(t, f.ResetPassword(ctx, token, secret), domain.ErrMailToken, "it has expired")
	})
}

func TestResetPassword_Nobody(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		u := f.registered(t, "ada@example.com")
		_, err := f.DisableUser(staff(t), f.NewID(), u.ID)
		require.NoError(t, err)
		for _, email := range []string{"eve@example.com", "ada@example.com"} {
			require.NoError(t, f.RequestPasswordReset(t.Context(), email))
		}
		require.EqualValues(t, 2, f.count(t, "SELECT count(*) FROM mail_requests"))
		require.NoError(t, f.AnswerMailRequests(t.Context()))
		require.Zero(t, f.count(t, "SELECT count(*) FROM mail_requests"), "no address stays")
		require.Zero(t, f.count(t, "SELECT count(*) FROM outbox WHERE type = ?", userv1.PasswordResetRequested.Name()))
	})
}

// TestAnswerMailRequests asks often, and has several replicas answer: each request is answered once.
func TestAnswerMailRequests(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		u := f.registered(t, "ada@example.com")
		const requests = 50 // more than a batch
		for range requests {
			require.NoError(t, f.RequestPasswordReset(t.Context(), "Ada@example.com"))
		}
		require.Zero(t, f.events(t, userv1.PasswordResetRequested, u.ID), "a request looks nobody up")
		require.Zero(t, f.count(t, "SELECT count(*) FROM mail_tokens WHERE purpose = 'reset_password'"))
		g, ctx := errgroup.WithContext(t.Context())
		for range 3 {
			g.Go(func() error { return f.AnswerMailRequests(ctx) })
		}
		require.NoError(t, g.Wait())
		require.EqualValues(t, requests, f.events(t, userv1.PasswordResetRequested, u.ID))
		require.Zero(t, f.count(t, "SELECT count(*) FROM mail_requests"))
	})
}

// TestResetPassword_Race gives the same token several times at once: one wins.
func TestResetPassword_Race(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		u := f.registered(t, "ada@example.com")
		token := f.reset(t, u)
		var done atomic.Int64
		g, ctx := errgroup.WithContext(t.Context())
		for i := range 6 {
			g.Go(func() error {
				return tally(&done, f.ResetPassword(ctx, token, []string{"horse number one", "horse number two"}[i%2]), domain.ErrMailToken)
			})
		}
		require.NoError(t, g.Wait())
		require.EqualValues(t, 1, done.Load())
		require.EqualValues(t, 1, f.events(t, userv1.PasswordChanged, u.ID))
	})
}

func TestChangePassword(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		u := f.registered(t, "ada@example.com")
		here, there := f.login(t, u), f.login(t, u)
		p := f.principal(t, here)
		token := f.reset(t, u)
		require.ErrorIs(t, f.ChangePassword(ctx, p, "wrong horse", other), domain.ErrPasswordWrong)
		for _, weak := range []string{"1234567", "password", "ada ada ada"} {
			err := f.ChangePassword(ctx, p, secret, weak)
			require.Equal(t, fault.Unprocessable, fault.KindOf(err), weak)
			require.Equal(t, "/new_password", fault.From(err).Fields[0].Path)
		}
		require.Zero(t, f.events(t, userv1.PasswordChanged, u.ID))

		require.NoError(t, f.ChangePassword(ctx, p, secret, other))
		_, err := f.RefreshSession(ctx, there.Refresh, "")
		require.ErrorIs(t, err, domain.ErrRefreshToken, "the other sessions end")
		_, err = f.RefreshSession(ctx, here.Refresh, "")
		require.NoError(t, err, "this one goes on")
		require.EqualValues(t, 1, f.events(t, userv1.PasswordChanged, u.ID))
		require.ErrorIs(t, f.ResetPassword(ctx, token, secret), domain.ErrMailToken)
		_, err = f.LogIn(ctx, "ada@example.com", secret)
		require.ErrorIs(t, err, domain.ErrCredentials)
		_, err = f.LogIn(ctx, "ada@example.com", other)
		require.NoError(t, err)
	})
}

func TestPurgeMailTokens(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		u := f.registered(t, "ada@example.com")
		f.reset(t, u)
		require.NoError(t, f.Store.PurgeMailTokens(context.WithoutCancel(t.Context()), f.Now().Add(time.Hour)))
		require.EqualValues(t, 1, f.count(t, "SELECT count(*) FROM mail_tokens"), "that which verifies")
	})
}
