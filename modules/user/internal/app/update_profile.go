package app

import (
	"context"
	"errors"

	"cleave/modules/user/internal/domain"
	userv1 "cleave/modules/user/v1"
)

// ProfileChange is what a user asks to have changed; nil keeps what there is.
type ProfileChange struct {
	Email       *string
	Password    string // their own; needed for another address
	DisplayName *string
}

// UpdateProfile changes a user who is still at the given version; else it is ErrStale. Asking for what is so already
// changes nothing and keeps the version.
//
// Another address takes the password (ASVS 5.0 7.5.1; ErrPasswordMissing, ErrPasswordWrong), and is only pending: a token that is
// mailed to it makes it the user's. Whether somebody else has it makes no difference here, in the answer or the work; that somebody is told
// instead (6.3.8).
func (a *App) UpdateProfile(ctx context.Context, id string, version int64, pc ProfileChange) (domain.User, error) {
	c, err := pc.check()
	if err != nil {
		return domain.User{}, err
	}
	u, err := a.Self(ctx, id)
	if err != nil {
		return domain.User{}, err
	}
	moves := c.Email != nil && c.Email.Lower() != u.Email.Lower()
	if moves {
		if pc.Password == "" {
			return domain.User{}, domain.ErrPasswordMissing
		}
		if _, err := a.confirmPassword(ctx, id, pc.Password); err != nil {
			return domain.User{}, err
		}
	}
	err = a.DB.Tx(ctx, func(ctx context.Context) (err error) {
		if u, err = a.Self(ctx, id); err != nil {
			return err
		}
		if u.Version != version {
			return domain.ErrStale
		}
		former := u
		if u.Apply(c, a.now()) {
			if err := a.Store.UpdateUser(ctx, u); err != nil {
				return err
			}
			if u.Email != former.Email || u.DisplayName != former.DisplayName {
				if err := a.profileChanged(ctx, u); err != nil {
					return err
				}
			}
		}
		if !moves {
			return nil
		}
		return a.askForPending(ctx, u)
	})
	return u, err
}

// askForPending has a token mailed to the address that a user wants to have, or, when somebody else has it, tells them.
func (a *App) askForPending(ctx context.Context, u domain.User) error {
	owner, err := a.Store.UserByEmail(ctx, u.PendingEmail)
	switch {
	case errors.Is(err, domain.ErrUserNotFound):
		return a.askToVerify(ctx, u.ID, u.PendingEmail)
	case err != nil:
		return err
	default:
		return a.tellOwner(ctx, owner)
	}
}

func (a *App) profileChanged(ctx context.Context, u domain.User) error {
	return a.Events.Publish(ctx, u.ID, &userv1.UserProfileChanged{
		UserId: u.ID, Email: string(u.Email), DisplayName: u.DisplayName, Version: u.Version,
	})
}

func (pc ProfileChange) check() (c domain.Change, err error) {
	if pc.Email != nil {
		email, err := domain.NewEmail("/email", *pc.Email)
		if err != nil {
			return c, err
		}
		c.Email = &email
	}
	if pc.DisplayName != nil {
		if err := domain.CheckDisplayName("/display_name", *pc.DisplayName); err != nil {
			return c, err
		}
		c.DisplayName = pc.DisplayName
	}
	return c, nil
}
