package app

import (
	"context"

	"cleave/modules/user/internal/domain"
	userv1 "cleave/modules/user/v1"
	"cleave/platform/auth"
)

// ChangePassword replaces the caller's password, which they must know (ASVS 5.0 6.2.3; ErrPasswordWrong), ends all their other sessions
// (7.4.3) and tells them (6.3.7). A new password that is refused is Unprocessable at /new_password.
func (a *App) ChangePassword(ctx context.Context, p auth.Principal, current, wanted string) error {
	u, err := a.confirmPassword(ctx, p.Subject, current)
	if err != nil {
		return err
	}
	hash, err := a.hashPassword(ctx, "/new_password", wanted, u.Email, u.DisplayName)
	if err != nil {
		return err
	}
	return a.DB.Tx(ctx, func(ctx context.Context) error {
		changed, err := a.Store.SetPassword(ctx, u.ID, u.PasswordHash, hash)
		switch {
		case err != nil:
			return err
		case !changed: // by somebody else, while this one was being hashed
			return domain.ErrPasswordWrong
		}
		return a.passwordChanged(ctx, u.ID, p.Session)
	})
}

// passwordChanged does what follows from a new password. The session keep, "" for none, goes on.
func (a *App) passwordChanged(ctx context.Context, userID, keep string) error {
	if err := a.endOtherSessions(ctx, userID, keep); err != nil {
		return err
	}
	if err := a.Store.DeleteMailTokens(ctx, userID, domain.ResetPassword); err != nil {
		return err
	}
	return a.Events.Publish(ctx, userID, &userv1.UserPasswordChanged{UserId: userID})
}
