package api

import (
	"context"

	"cleave/modules/order/internal/app"
	userv1 "cleave/modules/user/v1"
	"cleave/platform/event"
)

// Handlers are the module's reactions to events.
func Handlers(a *app.App) []event.Handler {
	return []event.Handler{
		event.On(userv1.Disabled, "cancel_orders", func(ctx context.Context, _ event.Meta, e *userv1.UserDisabled) error {
			return a.OnUserDisabled(ctx, e.GetUserId())
		}),
		event.On(userv1.Deleted, "anonymise_orders", func(ctx context.Context, _ event.Meta, e *userv1.UserDeleted) error {
			return a.OnUserDeleted(ctx, e.GetUserId())
		}),
	}
}
