package app

import (
	"context"
	"errors"

	"cleave/modules/user/internal/domain"
	"cleave/modules/user/internal/store"
)

// User reads a user.
func (a *App) User(ctx context.Context, id string) (domain.User, error) { return a.Store.User(ctx, id) }

// Self reads the user who asks. Without an account, as users of outside issuers and clients of their own are, it is ErrNoAccount.
func (a *App) Self(ctx context.Context, id string) (domain.User, error) {
	u, err := a.Store.User(ctx, id)
	if errors.Is(err, domain.ErrUserNotFound) {
		err = domain.ErrNoAccount
	}
	return u, err
}

// Users reads those of the given users that exist.
func (a *App) Users(ctx context.Context, ids []string) ([]domain.User, error) {
	return a.Store.Users(ctx, ids)
}

// ListUsers reads a page of users, the newest first, and whether another one follows.
func (a *App) ListUsers(ctx context.Context, f store.UserFilter, p store.Page) ([]domain.User, bool, error) {
	return page(p, func(p store.Page) ([]domain.User, error) { return a.Store.ListUsers(ctx, f, p) })
}

// page reads one item more than asked for, to learn whether another page follows.
func page[T any](p store.Page, read func(store.Page) ([]T, error)) ([]T, bool, error) {
	limit := p.Limit
	p.Limit++
	items, err := read(p)
	if err != nil || len(items) <= limit {
		return items, false, err
	}
	return items[:limit], true, nil
}
