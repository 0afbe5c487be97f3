package api

import (
	"context"

	"cleave/modules/order/internal/app"
	userv1 "cleave/modules/user/v1"
	"cleave/platform/event"
)

// Handlers are the module's reactions to events.
//
// Each event has a transaction of its own: it locks orders and then their products, which those who place and cancel orders wait for.
// The next event in the same transaction would lock orders while it holds products, and two of them could wait for each other.
func Handlers(a *app.App) []event.Handler {
	return []event.Handler{
		event.On(userv1.Disabled, "cancel_orders", func(ctx context.Context, _ event.Meta, e *userv1.UserDisabled) error {
			return a.OnUserDisabled(ctx, e.GetUserId())
		}, event.Batch(1)),
		event.On(userv1.Deleted, "anonymise_orders", func(ctx context.Context, _ event.Meta, e *userv1.UserDeleted) error {
			return a.OnUserDeleted(ctx, e.GetUserId())
		}, event.Batch(1)),
	}
}
