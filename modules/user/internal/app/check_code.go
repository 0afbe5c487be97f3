package app

import (
	"context"
	"crypto/subtle"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"

	"cleave/modules/user/internal/domain"
	"cleave/modules/user/internal/store"
	"cleave/platform/db"
)

const (
	stepSeconds = 30 // RFC 6238 section 5.2
	codeDigits  = 6
)

// checkCode uses up a code of a user's authenticator, or one of their recovery codes; each works once (ASVS 5.0 6.5.1). It is
// ErrCodeWrong for any other, ErrFactorLocked after too many of those, and ErrFactorOff without an authenticator in use.
//
// It has a transaction of its own, because a wrong code must count although the request that brought it is refused.
func (a *App) checkCode(ctx context.Context, userID, code string) error {
	return a.useCode(ctx, userID, code, true)
}

func (a *App) useCode(ctx context.Context, userID, code string, confirmed bool) error {
	ctx = db.Detach(ctx)
	refused := error(domain.ErrCodeWrong)
	err := a.DB.Tx(ctx, func(ctx context.Context) error {
		f, exists, err := a.Store.SecondFactor(ctx, userID)
		now := a.now()
		switch {
		case err != nil:
			return err
		case !exists || f.Confirmed != confirmed:
			return domain.ErrFactorOff
		case now.Before(f.LockedUntil):
			return domain.ErrFactorLocked
		}
		good, err := a.matches(ctx, &f, code, now)
		switch {
		case err != nil:
			return err
		case good:
			refused, f.Failures = nil, 0
		default:
			f.Failures++
		}
		if f.Failures >= domain.MaxFactorFailures {
			f.Failures, f.LockedUntil = 0, now.Add(domain.FactorLock)
		}
		return a.Store.UpdateSecondFactor(ctx, f)
	})
	if err != nil {
		return err
	}
	return refused
}

// matches uses the code up if it is right.
func (a *App) matches(ctx context.Context, f *store.SecondFactor, code string, now time.Time) (bool, error) {
	if len(code) != codeDigits {
		if !f.Confirmed {
			return false, nil
		}
		return a.Store.UseRecoveryCode(ctx, f.UserID, hashToken(code))
	}
	secret, err := a.Secrets.Unseal(f.UserID, f.SealedBy, f.Secret)
	if err != nil {
		return false, err
	}
	step, ok, err := matchStep(string(secret), code, now)
	if err != nil || !ok || step <= f.LastStep { // a code works once (RFC 6238 section 5.2)
		return false, err
	}
	f.LastStep = step
	return true, nil
}

// matchStep finds the time step of a code: the present one, or one beside it, for clocks that differ and codes that are typed slowly.
func matchStep(secret, code string, now time.Time) (step int64, ok bool, err error) {
	present := now.Unix() / stepSeconds
	for _, at := range []int64{present - 1, present, present + 1} {
		want, err := hotp.GenerateCodeCustom(secret, uint64(at), hotp.ValidateOpts{Digits: codeDigits, Algorithm: otp.AlgorithmSHA1})
		if err != nil {
			return 0, false, err
		}
		if subtle.ConstantTimeCompare([]byte(want), []byte(code)) == 1 {
			step, ok = at, true
		}
	}
	return step, ok, nil
}
