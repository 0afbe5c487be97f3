package app

import (
	"context"

	"cleave/modules/user/internal/store"
)

type clientKey struct{}

// WithClient returns a context that says where the sessions that begin or go on under it are used from.
func WithClient(ctx context.Context, c store.Client) context.Context {
	return context.WithValue(ctx, clientKey{}, c)
}

func clientOf(ctx context.Context) store.Client {
	c, _ := ctx.Value(clientKey{}).(store.Client)
	return c
}
