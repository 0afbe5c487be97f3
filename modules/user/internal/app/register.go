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

// Register makes a customer with an empty credit account. ErrEmailTaken may appear only when the transaction of ctx ends.
func (a *App) Register(ctx context.Context, r Registration) (domain.User, error) {
	u, err := a.newUser(ctx, r, domain.RoleCustomer)
	if err != nil {
		return domain.User{}, err
	}
	return u, a.DB.Tx(ctx, func(ctx context.Context) error { return a.insert(ctx, u) })
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
	if err := domain.CheckPassword("/password", r.Password); err != nil {
		return domain.User{}, err
	}
	hash, err := a.Passwords.Hash(ctx, r.Password)
	if err != nil {
		return domain.User{}, err
	}
	return domain.NewUser(a.NewID(), email, r.DisplayName, hash, a.now(), roles...), nil
}

func (a *App) insert(ctx context.Context, u domain.User) error {
	if err := a.Store.InsertUser(ctx, u, a.Currency); err != nil {
		return err
	}
	return a.Events.Publish(ctx, u.ID, &userv1.UserRegistered{UserId: u.ID, Email: string(u.Email), DisplayName: u.DisplayName})
}
