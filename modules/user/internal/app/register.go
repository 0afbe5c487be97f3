package app

import (
	"context"

	"cleave/modules/user/internal/domain"
	userv1 "cleave/modules/user/v1"
)

// Registration is what a person gives to become a user.
type Registration struct {
	Email       string
	Password    string
	DisplayName string
}

// Register makes a customer with an empty credit account and has a token mailed that verifies the address. When another user has the
// address, it does the same work, makes nobody and has that user told; what it returns differs in nothing (ASVS 5.0 6.3.8).
func (a *App) Register(ctx context.Context, r Registration) (domain.User, error) {
	u, err := a.newUser(ctx, r, domain.RoleCustomer)
	if err != nil {
		return domain.User{}, err
	}
	return u, a.DB.Tx(ctx, func(ctx context.Context) error {
		free, err := a.Store.InsertUserIfFree(ctx, u, a.Currency)
		if err != nil {
			return err
		}
		if !free {
			owner, err := a.Store.UserByEmail(ctx, u.Email)
			if err != nil {
				return err
			}
			return a.tellOwner(ctx, owner)
		}
		if err := a.registered(ctx, u); err != nil {
			return err
		}
		return a.askToVerify(ctx, u.ID, u.Email)
	})
}

// tellOwner tells the user who has an address that somebody else wanted to have an account with it.
func (a *App) tellOwner(ctx context.Context, owner domain.User) error {
	if err := a.mailNothing(ctx); err != nil {
		return err
	}
	return a.Events.Publish(ctx, owner.ID, &userv1.UserRegistrationAttempted{UserId: owner.ID})
}

// newUser checks a registration and hashes the password, which takes long, so it comes before any transaction.
func (a *App) newUser(ctx context.Context, r Registration, roles ...string) (domain.User, error) {
	email, err := domain.NewEmail("/email", r.Email)
	if err != nil {
		return domain.User{}, err
	}
	if err := domain.CheckDisplayName("/display_name", r.DisplayName); err != nil {
		return domain.User{}, err
	}
	hash, err := a.hashPassword(ctx, "/password", r.Password, email, r.DisplayName)
	if err != nil {
		return domain.User{}, err
	}
	return domain.NewUser(a.NewID(), email, r.DisplayName, hash, a.now(), roles...), nil
}

func (a *App) registered(ctx context.Context, u domain.User) error {
	return a.Events.Publish(ctx, u.ID, &userv1.UserRegistered{UserId: u.ID, Email: string(u.Email), DisplayName: u.DisplayName})
}
