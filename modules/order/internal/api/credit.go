package api

import (
	"context"

	"google.golang.org/grpc"

	"cleave/modules/order/internal/app"
	"cleave/modules/order/internal/domain"
	userv1 "cleave/modules/user/v1"
	"cleave/platform/fault"
)

// credit is app.Credit over the user module.
type credit struct{ users userv1.UserServiceClient }

// NewCredit returns the buyers' credit, kept by the user module behind conn.
func NewCredit(conn grpc.ClientConnInterface) app.Credit {
	return credit{users: userv1.NewUserServiceClient(conn)}
}

func (c credit) Reserve(ctx context.Context, key, buyerID string, amount domain.Money) error {
	_, err := c.users.ReserveCredit(ctx, &userv1.ReserveCreditRequest{
		ReservationKey: key, UserId: buyerID, Amount: &userv1.Money{MinorUnits: amount.MinorUnits, CurrencyCode: amount.Currency},
	})
	return translate(err, func(code string) *fault.Error {
		switch code {
		case "insufficient_credit":
			return fault.New(fault.Conflict, code, "the buyer's credit does not suffice")
		case "user_disabled":
			return fault.New(fault.Conflict, code, "the buyer is disabled")
		case "user_not_found":
			return fault.New(fault.Unprocessable, "buyer_unknown", "the buyer has no account")
		case "currency_mismatch":
			return fault.New(fault.Unprocessable, code, "the buyer's account is not in %s", amount.Currency)
		case "reservation_released":
			return fault.New(fault.Conflict, "credit_released", "the credit was released before it was reserved")
		default:
			return fault.New(fault.Conflict, "credit_refused", "the credit cannot be reserved")
		}
	})
}

func (c credit) Capture(ctx context.Context, key string) error {
	_, err := c.users.CaptureCredit(ctx, &userv1.CaptureCreditRequest{ReservationKey: key})
	return translate(err, func(string) *fault.Error {
		return fault.New(fault.Conflict, "credit_not_captured", "the credit cannot be captured")
	})
}

func (c credit) Release(ctx context.Context, key string) error {
	_, err := c.users.ReleaseCredit(ctx, &userv1.ReleaseCreditRequest{ReservationKey: key})
	return translate(err, func(string) *fault.Error {
		return fault.New(fault.Conflict, "credit_not_released", "the credit cannot be released")
	})
}

// translate turns the user module's fault into this module's: Unavailable when
// the call may be made again, otherwise what refused makes of its code.
func translate(err error, refused func(code string) *fault.Error) error {
	if err == nil {
		return nil
	}
	f := fault.From(err)
	if f.Kind.Temporary() {
		return fault.New(fault.Unavailable, "credit_unavailable", "the buyers' credit cannot be reached").Wrap(err)
	}
	return refused(f.Code).Wrap(err)
}
