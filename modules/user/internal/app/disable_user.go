package app

import (
	"context"
	"slices"

	"cleave/modules/user/internal/domain"
	userv1 "cleave/modules/user/v1"
)

// DisableUser ends a user's sessions and bars them from logging in and acting; nothing happens to one who is barred already.
// Nobody can disable themselves (ErrDisableSelf) or the last administrator (ErrLastAdmin).
func (a *App) DisableUser(ctx context.Context, callerID, id string) (domain.User, error) {
	var u domain.User
	err := a.DB.Tx(ctx, func(ctx context.Context) (err error) {
		// Two administrators who disable each other pass here one after the other.
		admins, err := a.Store.LockAdmins(ctx)
		if err != nil {
			return err
		}
		if u, err = a.Store.UserForUpdate(ctx, id); err != nil {
			return err
		}
		switch {
		case u.Disabled:
			return nil
		case id == callerID:
			return domain.ErrDisableSelf
		case len(admins) == 1 && slices.Contains(admins, id):
			return domain.ErrLastAdmin
		}
		u.SetDisabled(true, a.now())
		if err := a.Store.UpdateUser(ctx, u); err != nil {
			return err
		}
		if err := a.endSessions(ctx, u); err != nil {
			return err
		}
		if err := a.Events.Publish(ctx, id, &userv1.UserDisabled{UserId: id}); err != nil {
			return err
		}
		return a.audited(ctx, "user:disable", id, nil)
	})
	return u, err
}

// EnableUser lets a disabled user log in again; nothing happens to one who may.
func (a *App) EnableUser(ctx context.Context, id string) (domain.User, error) {
	var u domain.User
	err := a.DB.Tx(ctx, func(ctx context.Context) (err error) {
		if u, err = a.Store.UserForUpdate(ctx, id); err != nil {
			return err
		}
		if !u.SetDisabled(false, a.now()) {
			return nil
		}
		if err := a.Store.UpdateUser(ctx, u); err != nil {
			return err
		}
		if err := a.Events.Publish(ctx, id, &userv1.UserEnabled{UserId: id}); err != nil {
			return err
		}
		return a.audited(ctx, "user:enable", id, nil)
	})
	return u, err
}
