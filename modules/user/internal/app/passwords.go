package app

import (
	"context"

	"cleave/modules/user/internal/domain"
	"cleave/modules/user/internal/password"
)

// hashPassword checks a password that a user wants to have and returns its hash. The field at path is named when it is refused:
// by length or by its likeness to the user (domain.CheckPassword), or as a common one. Hashing takes long, so it comes before any
// transaction.
func (a *App) hashPassword(ctx context.Context, path, wanted string, e domain.Email, displayName string) (string, error) {
	normal := password.Normalise(wanted)
	if err := domain.CheckPassword(path, normal, domain.PasswordWords(e, displayName)...); err != nil {
		return "", err
	}
	if password.Common(normal) {
		return "", domain.ErrCommonPassword(path)
	}
	return a.Passwords.Hash(ctx, wanted)
}

// confirmPassword reads a user who is logged in and gives their password once more, before something that a thief of the session
// must not do (ASVS 5.0 7.5.1). A wrong one is ErrPasswordWrong.
func (a *App) confirmPassword(ctx context.Context, userID, given string) (domain.User, error) {
	u, err := a.Self(ctx, userID)
	if err != nil {
		return domain.User{}, err
	}
	ok, err := a.Passwords.Verify(ctx, u.PasswordHash, given)
	if err == nil && !ok {
		err = domain.ErrPasswordWrong
	}
	return u, err
}
