package app_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"cleave/modules/user/internal/app"
	"cleave/modules/user/internal/domain"
	userv1 "cleave/modules/user/v1"
	"cleave/platform/auth"
)

// guarded is a user with a second factor.
type guarded struct {
	domain.User
	p             auth.Principal
	secret        string
	recoveryCodes []string
}

func (f *fixture) code(t *testing.T, secret string) string {
	t.Helper()
	code, err := totp.GenerateCode(secret, f.Now())
	require.NoError(t, err)
	return code
}

// nextStep waits, on the fixture's clock, until the authenticator shows another code.
func (f *fixture) nextStep() { f.clock.Add(int64(30 * time.Second)) }

func (f *fixture) guarded(t *testing.T, email string) guarded {
	t.Helper()
	u := f.registered(t, email)
	g := guarded{User: u, p: f.principal(t, f.login(t, u))}
	var err error
	g.secret, _, err = f.EnrolSecondFactor(t.Context(), g.p, secret)
	require.NoError(t, err)
	g.recoveryCodes, err = f.ConfirmSecondFactor(t.Context(), g.p, f.code(t, g.secret))
	require.NoError(t, err)
	f.nextStep()
	return g
}

func (f *fixture) challenge(t *testing.T, u domain.User) string {
	t.Helper()
	tokens, err := f.LogIn(t.Context(), string(u.Email), secret)
	require.NoError(t, err)
	require.NotNil(t, tokens.Challenge)
	require.Equal(t, app.Tokens{Challenge: tokens.Challenge}, tokens, "the password alone gives no token")
	return tokens.Challenge.Token
}

func TestEnrolSecondFactor(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		u := f.registered(t, "ada@example.com")
		here, there := f.login(t, u), f.login(t, u)
		p := f.principal(t, here)
		_, err := f.ConfirmSecondFactor(ctx, p, "123456")
		require.ErrorIs(t, err, domain.ErrFactorOff)
		_, _, err = f.EnrolSecondFactor(ctx, p, "wrong horse")
		require.ErrorIs(t, err, domain.ErrPasswordWrong)
		first, uri, err := f.EnrolSecondFactor(ctx, p, secret)
		require.NoError(t, err)
		require.Contains(t, uri, "otpauth://totp/Cleave:ada@example.com?")
		again, _, err := f.EnrolSecondFactor(ctx, p, secret)
		require.NoError(t, err)
		f.login(t, u) // it is not in use yet
		_, err = f.ConfirmSecondFactor(ctx, p, f.code(t, first))
		require.ErrorIs(t, err, domain.ErrCodeWrong, "another secret has taken its place")

		codes, err := f.ConfirmSecondFactor(ctx, p, f.code(t, again))
		require.NoError(t, err)
		require.Len(t, codes, 10)
		require.Regexp(t, `^([0-9A-HJKMNP-TV-Z]{4}-){5}[0-9A-HJKMNP-TV-Z]{4}$`, codes[0])
		require.Zero(t, f.count(t, "SELECT count(*) FROM recovery_codes WHERE hash = ?", codes[0]), "only hashes are kept")
		_, err = f.RefreshSession(ctx, there.Refresh, "")
		require.ErrorIs(t, err, domain.ErrRefreshToken, "the other sessions end")
		_, err = f.RefreshSession(ctx, here.Refresh, "")
		require.NoError(t, err)
		require.EqualValues(t, 1, f.events(t, userv1.SecondFactorChanged, u.ID))
		_, _, err = f.EnrolSecondFactor(ctx, p, secret)
		require.ErrorIs(t, err, domain.ErrFactorOn)
	})
}

func TestLogInSecondFactor(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		g := f.guarded(t, "ada@example.com")
		challenge := f.challenge(t, g.User)
		_, err := f.LogInSecondFactor(ctx, "AAAAAAAAAAAAAAAAAAAAAAAA", f.code(t, g.secret))
		require.ErrorIs(t, err, domain.ErrChallenge)
		_, err = f.LogInSecondFactor(ctx, challenge, "000000")
		require.ErrorIs(t, err, domain.ErrLogInCode)
		code := f.code(t, g.secret)
		tokens, err := f.LogInSecondFactor(ctx, challenge, code)
		require.NoError(t, err)
		require.Equal(t, g.ID, f.principal(t, tokens).Subject)
		_, err = f.LogInSecondFactor(ctx, challenge, f.code(t, g.secret))
		require.ErrorIs(t, err, domain.ErrChallenge, "a challenge is good for one log-in")
		_, err = f.LogInSecondFactor(ctx, f.challenge(t, g.User), code)
		require.ErrorIs(t, err, domain.ErrLogInCode, "a code works once, though it is still shown")

		t.Run("Recovery", func(t *testing.T) {
			_, err := f.LogInSecondFactor(ctx, f.challenge(t, g.User), g.recoveryCodes[0])
			require.NoError(t, err)
			_, err = f.LogInSecondFactor(ctx, f.challenge(t, g.User), g.recoveryCodes[0])
			require.ErrorIs(t, err, domain.ErrLogInCode)
		})
		t.Run("Expired", func(t *testing.T) {
			challenge := f.challenge(t, g.User)
			f.clock.Add(int64(5*time.Minute + time.Second))
			_, err := f.LogInSecondFactor(ctx, challenge, f.code(t, g.secret))
			require.ErrorIs(t, err, domain.ErrChallenge)
		})
		t.Run("ResetPassword", func(t *testing.T) {
			challenge := f.challenge(t, g.User)
			require.NoError(t, f.ResetPassword(ctx, f.reset(t, g.User), other))
			_, err := f.LogInSecondFactor(ctx, challenge, f.code(t, g.secret))
			require.ErrorIs(t, err, domain.ErrChallenge, "it stood for the former password")
			tokens, err := f.LogIn(ctx, string(g.Email), other)
			require.NoError(t, err)
			require.NotNil(t, tokens.Challenge, "a reset does not go around the second factor")
		})
	})
}

func TestLogInSecondFactor_Guessing(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		g := f.guarded(t, "ada@example.com")
		for range 2 {
			challenge := f.challenge(t, g.User)
			for range domain.MaxChallengeAttempts {
				_, err := f.LogInSecondFactor(ctx, challenge, "AAAA-AAAA-AAAA-AAAA-AAAA-AAAA")
				require.ErrorIs(t, err, domain.ErrLogInCode)
			}
			_, err := f.LogInSecondFactor(ctx, challenge, f.code(t, g.secret))
			require.ErrorIs(t, err, domain.ErrChallenge, "it was guessed at too often")
		}
		_, err := f.LogInSecondFactor(ctx, f.challenge(t, g.User), f.code(t, g.secret))
		require.ErrorIs(t, err, domain.ErrFactorLocked)
		require.ErrorIs(t, f.DisableSecondFactor(ctx, g.p, secret, f.code(t, g.secret)), domain.ErrFactorLocked)
		f.clock.Add(int64(domain.FactorLock + time.Second))
		_, err = f.LogInSecondFactor(ctx, f.challenge(t, g.User), f.code(t, g.secret))
		require.NoError(t, err)
	})
}

// TestSecondFactor_Race gives the same code, and the same recovery code, several times at once: one wins.
func TestSecondFactor_Race(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		u := f.guarded(t, "ada@example.com")
		for name, code := range map[string]string{"Recovery": u.recoveryCodes[3], "TOTP": f.code(t, u.secret)} {
			challenges := make([]string, 4)
			for i := range challenges {
				challenges[i] = f.challenge(t, u.User)
			}
			var done atomic.Int64
			g, ctx := errgroup.WithContext(t.Context())
			for _, c := range challenges {
				g.Go(func() error {
					_, err := f.LogInSecondFactor(ctx, c, code)
					return tally(&done, err, domain.ErrLogInCode)
				})
			}
			require.NoError(t, g.Wait(), name)
			require.EqualValues(t, 1, done.Load(), name)
		}
	})
}

func TestDisableSecondFactor(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		g := f.guarded(t, "ada@example.com")
		require.ErrorIs(t, f.DisableSecondFactor(ctx, g.p, "wrong horse", f.code(t, g.secret)), domain.ErrPasswordWrong)
		require.ErrorIs(t, f.DisableSecondFactor(ctx, g.p, secret, "000000"), domain.ErrCodeWrong)
		require.NoError(t, f.DisableSecondFactor(ctx, g.p, secret, g.recoveryCodes[9]))
		require.Zero(t, f.count(t, "SELECT count(*) FROM recovery_codes"))
		require.ErrorIs(t, f.DisableSecondFactor(ctx, g.p, secret, f.code(t, g.secret)), domain.ErrFactorOff)
		f.login(t, g.User)
		require.EqualValues(t, 2, f.events(t, userv1.SecondFactorChanged, g.ID))
	})
}
