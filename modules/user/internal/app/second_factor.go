package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"

	"cleave/modules/user/internal/domain"
	"cleave/modules/user/internal/store"
	userv1 "cleave/modules/user/v1"
	"cleave/platform/auth"
	"cleave/platform/db"
)

// Secrets encrypts what must be had back in the clear.
type Secrets interface {
	// Seal returns a secret as it is kept under a name, and what it is encrypted with.
	Seal(name string, plain []byte) (sealed []byte, by string)
	Unseal(name, by string, sealed []byte) ([]byte, error)
}

const (
	factorIssuer = "Cleave" // shown by authenticators
	challengeTTL = 5 * time.Minute
	resealBatch  = 100
)

// EnrolSecondFactor makes the secret of an authenticator for a user who gives their password, and returns it with its otpauth address.
// It is not in use before ConfirmSecondFactor. ErrPasswordWrong; ErrFactorOn when there is one in use.
func (a *App) EnrolSecondFactor(ctx context.Context, p auth.Principal, given string) (secret, uri string, err error) {
	u, err := a.confirmPassword(ctx, p.Subject, given)
	if err != nil {
		return "", "", err
	}
	key, err := totp.Generate(totp.GenerateOpts{
		Issuer: factorIssuer, AccountName: string(u.Email), Period: stepSeconds, Digits: otp.Digits(codeDigits), Algorithm: otp.AlgorithmSHA1,
	})
	if err != nil {
		return "", "", fmt.Errorf("make a secret for an authenticator: %w", err)
	}
	f := store.SecondFactor{UserID: u.ID}
	f.Secret, f.SealedBy = a.Secrets.Seal(u.ID, []byte(key.Secret()))
	err = a.DB.Tx(ctx, func(ctx context.Context) error {
		made, err := a.Store.InsertSecondFactor(ctx, f)
		if err == nil && !made {
			err = domain.ErrFactorOn
		}
		return err
	})
	return key.Secret(), key.URL(), err
}

// ConfirmSecondFactor puts the authenticator into use whose code this is, ends the caller's other sessions (ASVS 5.0 7.4.3), tells them,
// and returns their recovery codes. ErrCodeWrong; ErrFactorOff when none waits for it.
func (a *App) ConfirmSecondFactor(ctx context.Context, p auth.Principal, code string) ([]string, error) {
	if err := a.useCode(ctx, p.Subject, code, false); err != nil {
		return nil, err
	}
	codes, hashes := make([]string, domain.RecoveryCodes), make([]string, domain.RecoveryCodes)
	for i := range codes {
		codes[i] = domain.NewRecoveryCode()
		hashes[i] = hashToken(codes[i])
	}
	return codes, a.DB.Tx(ctx, func(ctx context.Context) error {
		f, exists, err := a.Store.SecondFactor(ctx, p.Subject)
		switch {
		case err != nil:
			return err
		case !exists:
			return domain.ErrFactorOff
		case f.Confirmed: // by another request
			return domain.ErrFactorOn
		}
		if err := a.Store.ConfirmSecondFactor(ctx, p.Subject, hashes, a.now()); err != nil {
			return err
		}
		return a.factorChanged(ctx, p, true)
	})
}

// DisableSecondFactor removes the caller's authenticator and recovery codes, for both factors. ErrPasswordWrong, and as checkCode; ErrFactorRequired
// when a role of theirs takes one.
func (a *App) DisableSecondFactor(ctx context.Context, p auth.Principal, given, code string) error {
	if _, err := a.confirmPassword(ctx, p.Subject, given); err != nil {
		return err
	}
	if err := a.checkCode(ctx, p.Subject, code); err != nil {
		return err
	}
	return a.DB.Tx(ctx, func(ctx context.Context) error {
		u, err := a.Store.UserForUpdate(ctx, p.Subject)
		switch {
		case err != nil:
			return err
		case slices.ContainsFunc(u.Roles, func(role string) bool { return slices.Contains(a.FactorRoles, role) }):
			return domain.ErrFactorRequired
		}
		if err := a.Store.DeleteSecondFactor(ctx, p.Subject); err != nil {
			return err
		}
		return a.factorChanged(ctx, p, false)
	})
}

func (a *App) factorChanged(ctx context.Context, p auth.Principal, enabled bool) error {
	if err := a.endOtherSessions(ctx, p.Subject, p.Session); err != nil {
		return err
	}
	return a.Events.Publish(ctx, p.Subject, &userv1.UserSecondFactorChanged{UserId: p.Subject, Enabled: enabled})
}

// Challenge stands for a right password while the second factor is asked for.
type Challenge struct {
	Token     string
	ExpiresIn time.Duration
}

// challenge returns what a user with a second factor gets for the right password, nil for one without.
func (a *App) challenge(ctx context.Context, u domain.User) (*Challenge, error) {
	f, exists, err := a.Store.SecondFactor(ctx, u.ID)
	if err != nil || !exists || !f.Confirmed {
		return nil, err
	}
	token, hash := newToken()
	return &Challenge{Token: token, ExpiresIn: challengeTTL}, a.DB.Tx(ctx, func(ctx context.Context) error {
		return a.Store.InsertChallenge(ctx, hash, store.Challenge{
			UserID: u.ID, Password: hashToken(u.PasswordHash), ExpiresAt: a.now().Add(challengeTTL),
		})
	})
}

// LogInSecondFactor begins the session of a challenge with a code. A challenge that does not hold, was tried
// domain.MaxChallengeAttempts times, or is older than a new password, is ErrChallenge; a wrong code is ErrLogInCode.
func (a *App) LogInSecondFactor(ctx context.Context, token, code string) (Tokens, error) {
	var tokens Tokens
	err := a.answerChallenge(ctx, token, code, func(ctx context.Context, u domain.User) (err error) {
		tokens, err = a.beginSession(ctx, u)
		return err
	})
	return tokens, err
}

// answerChallenge checks a code and then, in the transaction that uses the challenge up, lets its user in.
func (a *App) answerChallenge(ctx context.Context, token, code string, in func(ctx context.Context, u domain.User) error) error {
	hash := hashToken(token)
	u, err := a.tryChallenge(ctx, hash)
	if err != nil {
		return err
	}
	err = a.checkCode(ctx, u.ID, code)
	switch {
	case errors.Is(err, domain.ErrCodeWrong):
		return domain.ErrLogInCode
	case errors.Is(err, domain.ErrFactorOff):
		return domain.ErrChallenge
	case err != nil:
		return err
	}
	return a.DB.Tx(ctx, func(ctx context.Context) error {
		first, err := a.Store.UseChallenge(ctx, hash)
		switch {
		case err != nil:
			return err
		case !first:
			return domain.ErrChallenge
		}
		return in(ctx, u)
	})
}

// ResealSecrets brings the secrets of authenticators that are encrypted with another key, or not at all, to the present one.
func (a *App) ResealSecrets(ctx context.Context) error {
	_, by := a.Secrets.Seal("", nil)
	for {
		var n int
		err := a.DB.Tx(ctx, func(ctx context.Context) error {
			factors, err := a.Store.FactorsSealedOtherwise(ctx, by, resealBatch)
			n = len(factors)
			if err != nil {
				return err
			}
			for _, f := range factors {
				plain, err := a.Secrets.Unseal(f.UserID, f.SealedBy, f.Secret)
				if err != nil {
					return err
				}
				before := f.SealedBy
				f.Secret, f.SealedBy = a.Secrets.Seal(f.UserID, plain)
				if err := a.Store.ResealSecondFactor(ctx, f, before); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil || n < resealBatch {
			return err
		}
	}
}

// tryChallenge counts an attempt at a challenge, in a transaction of its own, and returns the user whose password was right.
func (a *App) tryChallenge(ctx context.Context, hash string) (u domain.User, err error) {
	ctx = db.Detach(ctx)
	err = a.DB.Tx(ctx, func(ctx context.Context) error {
		c, err := a.Store.TryChallenge(ctx, hash, a.now())
		if err != nil {
			return err
		}
		if u, err = a.Store.User(ctx, c.UserID); err != nil {
			return err
		}
		if hashToken(u.PasswordHash) != c.Password {
			return domain.ErrChallenge
		}
		return nil
	})
	return u, err
}
