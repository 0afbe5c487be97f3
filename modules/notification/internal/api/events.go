package api

import (
	"context"

	"github.com/google/uuid"

	"cleave/modules/notification/internal/app"
	"cleave/modules/notification/internal/domain"
	orderv1 "cleave/modules/order/v1"
	userv1 "cleave/modules/user/v1"
	"cleave/platform/event"
	"cleave/platform/fault"
)

// Handlers are the module's reactions to events. An event that names no user
// or order by a UUID is Invalid: no retry can mend it.
func Handlers(a *app.App) []event.Handler {
	return []event.Handler{
		event.On(userv1.Registered, "welcome", func(ctx context.Context, _ event.Meta, e *userv1.UserRegistered) error {
			if err := checkID("user_id", e.GetUserId()); err != nil {
				return err
			}
			return a.Welcome(ctx, domain.Contact{UserID: e.GetUserId(), Email: e.GetEmail(), DisplayName: e.GetDisplayName()})
		}),
		event.On(userv1.ProfileChanged, "keep_contact", func(ctx context.Context, _ event.Meta, e *userv1.UserProfileChanged) error {
			if err := checkID("user_id", e.GetUserId()); err != nil {
				return err
			}
			return a.KeepContact(ctx, domain.Contact{
				UserID: e.GetUserId(), Email: e.GetEmail(), DisplayName: e.GetDisplayName(), Version: e.GetVersion(),
			})
		}),
		event.On(userv1.Disabled, "tell_disabled", func(ctx context.Context, _ event.Meta, e *userv1.UserDisabled) error {
			if err := checkID("user_id", e.GetUserId()); err != nil {
				return err
			}
			return a.Tell(ctx, domain.News{Kind: domain.Disabled, UserID: e.GetUserId()})
		}),
		event.On(userv1.EmailVerificationRequested, "mail_verification", func(ctx context.Context, _ event.Meta, e *userv1.UserEmailVerificationRequested) error {
			return write(ctx, a, e, domain.News{
				Kind: domain.EmailVerification, Code: e.GetToken(), CodeExpires: e.GetExpiresAt().AsTime(), Address: e.GetEmail(),
			})
		}),
		event.On(userv1.PasswordResetRequested, "mail_password_reset", func(ctx context.Context, _ event.Meta, e *userv1.UserPasswordResetRequested) error {
			return write(ctx, a, e, domain.News{Kind: domain.PasswordReset, Code: e.GetToken(), CodeExpires: e.GetExpiresAt().AsTime()})
		}),
		event.On(userv1.PasswordChanged, "mail_password_changed", func(ctx context.Context, _ event.Meta, e *userv1.UserPasswordChanged) error {
			return write(ctx, a, e, domain.News{Kind: domain.PasswordChanged})
		}),
		event.On(userv1.RegistrationAttempted, "mail_registration_attempt", func(ctx context.Context, _ event.Meta, e *userv1.UserRegistrationAttempted) error {
			return write(ctx, a, e, domain.News{Kind: domain.RegistrationAttempt})
		}),
		event.On(userv1.SecondFactorChanged, "mail_second_factor", func(ctx context.Context, _ event.Meta, e *userv1.UserSecondFactorChanged) error {
			kind := domain.SecondFactorOff
			if e.GetEnabled() {
				kind = domain.SecondFactorOn
			}
			return write(ctx, a, e, domain.News{Kind: kind})
		}),
		event.On(userv1.EmailChanged, "mail_email_changed", func(ctx context.Context, _ event.Meta, e *userv1.UserEmailChanged) error {
			return write(ctx, a, e, domain.News{Kind: domain.EmailChanged, Address: e.GetFormerEmail()})
		}),
		event.On(userv1.Deleted, "forget_user", func(ctx context.Context, _ event.Meta, e *userv1.UserDeleted) error {
			if err := checkID("user_id", e.GetUserId()); err != nil {
				return err
			}
			return a.ForgetUser(ctx, e.GetUserId())
		}),
		event.On(orderv1.Confirmed, "tell_confirmed", func(ctx context.Context, _ event.Meta, e *orderv1.OrderConfirmed) error {
			return tell(ctx, a, e, domain.News{Kind: domain.Confirmed})
		}),
		event.On(orderv1.Rejected, "tell_rejected", func(ctx context.Context, _ event.Meta, e *orderv1.OrderRejected) error {
			return tell(ctx, a, e, domain.News{Kind: domain.Rejected, Reason: e.GetReason()})
		}),
		event.On(orderv1.Cancelled, "tell_cancelled", func(ctx context.Context, _ event.Meta, e *orderv1.OrderCancelled) error {
			return tell(ctx, a, e, domain.News{Kind: domain.Cancelled, Reason: e.GetReason()})
		}),
		event.On(orderv1.Shipped, "tell_shipped", func(ctx context.Context, _ event.Meta, e *orderv1.OrderShipped) error {
			return tell(ctx, a, e, domain.News{Kind: domain.Shipped, Tracking: e.GetTrackingCode()})
		}),
	}
}

// orderEvent is what all events of an order say.
type orderEvent interface {
	GetOrderId() string
	GetNumber() string
	GetBuyerId() string
}

// tell gives news of an order to its buyer.
func tell(ctx context.Context, a *app.App, e orderEvent, n domain.News) error {
	if err := checkID("buyer_id", e.GetBuyerId()); err != nil {
		return err
	}
	if err := checkID("order_id", e.GetOrderId()); err != nil {
		return err
	}
	n.UserID, n.OrderID, n.Number = e.GetBuyerId(), e.GetOrderId(), e.GetNumber()
	return a.Tell(ctx, n)
}

// write gives news of the security of an account to its user.
func write(ctx context.Context, a *app.App, e interface{ GetUserId() string }, n domain.News) error {
	if err := checkID("user_id", e.GetUserId()); err != nil {
		return err
	}
	n.UserID = e.GetUserId()
	return a.Write(ctx, n)
}

func checkID(field, id string) error {
	if parsed, err := uuid.Parse(id); err != nil || parsed.String() != id {
		return fault.New(fault.Invalid, "event_invalid", "%s is not a UUID in its canonical form", field)
	}
	return nil
}
