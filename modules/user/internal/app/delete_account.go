package app

import (
	"context"
	"slices"

	"cleave/modules/user/internal/domain"
	userv1 "cleave/modules/user/v1"
	"cleave/platform/auth"
)

// DeleteAccount erases the caller here, and in all modules by an event. They must know their password, and give a code if they have a
// second factor. Sessions, access tokens and API keys end with it (ASVS 5.0 7.4.2), and the address is free for somebody else. What the
// ledger says of amounts stays, under an id that leads to nobody.
//
// ErrPasswordWrong; ErrCodeRequired, and as checkCode; ErrLastAdminLeaves.
func (a *App) DeleteAccount(ctx context.Context, p auth.Principal, given, code string) error {
	u, err := a.confirmPassword(ctx, p.Subject, given)
	if err != nil {
		return err
	}
	if err := a.confirmCode(ctx, u.ID, code); err != nil {
		return err
	}
	return a.DB.Tx(ctx, func(ctx context.Context) error {
		admins, err := a.Store.LockAdmins(ctx)
		if err != nil {
			return err
		}
		if u, err = a.Store.UserForUpdate(ctx, u.ID); err != nil {
			return err
		}
		if len(admins) == 1 && slices.Contains(admins, u.ID) {
			return domain.ErrLastAdminLeaves
		}
		// What has not left the outbox yet would tell of the person; the events below make up for it.
		if err := a.Forget(ctx, u.ID); err != nil {
			return err
		}
		if err := a.Store.EraseUser(ctx, u.ID, a.NewID(), a.now()); err != nil {
			return err
		}
		if err := a.Events.Publish(ctx, u.ID, &userv1.AccessRevoked{UserId: u.ID, BeforeVersion: u.Version + 1}); err != nil {
			return err
		}
		if err := a.Events.Publish(ctx, u.ID, &userv1.UserDeleted{UserId: u.ID}); err != nil {
			return err
		}
		return a.audited(ctx, "user:delete", u.ID, nil)
	})
}

// RecordExport notes that a user takes their data along.
func (a *App) RecordExport(ctx context.Context, userID string) error {
	return a.DB.Tx(ctx, func(ctx context.Context) error { return a.audited(ctx, "user:export", userID, nil) })
}

// confirmCode asks a user who has a second factor for it.
func (a *App) confirmCode(ctx context.Context, userID, code string) error {
	f, exists, err := a.Store.SecondFactor(ctx, userID)
	switch {
	case err != nil || !exists || !f.Confirmed:
		return err
	case code == "":
		return domain.ErrCodeRequired
	default:
		return a.checkCode(ctx, userID, code)
	}
}
