package app

import (
	"context"

	"cleave/modules/user/internal/domain"
	userv1 "cleave/modules/user/v1"
)

// ProfileChange is what a user asks to have changed; nil keeps what there is.
type ProfileChange struct {
	Email       *string
	DisplayName *string
}

// UpdateProfile changes a user who is still at the given version; else it is ErrStale. Asking for what is so already
// changes nothing and keeps the version.
func (a *App) UpdateProfile(ctx context.Context, id string, version int64, pc ProfileChange) (domain.User, error) {
	c, err := pc.check()
	if err != nil {
		return domain.User{}, err
	}
	var u domain.User
	err = a.DB.Tx(ctx, func(ctx context.Context) (err error) {
		if u, err = a.Self(ctx, id); err != nil {
			return err
		}
		if u.Version != version {
			return domain.ErrStale
		}
		before := u.Email.Lower()
		if !u.Apply(c, a.now()) {
			return nil
		}
		if err := a.Store.UpdateUser(ctx, u); err != nil {
			return err
		}
		err = a.Events.Publish(ctx, u.ID, &userv1.UserProfileChanged{
			UserId: u.ID, Email: string(u.Email), DisplayName: u.DisplayName, Version: u.Version,
		})
		if err != nil || u.Email.Lower() == before {
			return err
		}
		return a.askToVerify(ctx, u)
	})
	return u, err
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
