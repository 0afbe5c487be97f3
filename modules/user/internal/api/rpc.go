package api

import (
	"context"
	"slices"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"cleave/modules/user/internal/app"
	"cleave/modules/user/internal/domain"
	userv1 "cleave/modules/user/v1"
	"cleave/platform/auth"
	"cleave/platform/fault"
)

// service implements the generated UserServiceServer.
type service struct {
	userv1.UnimplementedUserServiceServer
	app *app.App
}

// Register returns what registers the module's gRPC service.
func Register(a *app.App) func(grpc.ServiceRegistrar) {
	return func(r grpc.ServiceRegistrar) { userv1.RegisterUserServiceServer(r, service{app: a}) }
}

const maxIDs = 100

// GetUsers implements userv1.UserServiceServer.
func (s service) GetUsers(ctx context.Context, r *userv1.GetUsersRequest) (*userv1.GetUsersResponse, error) {
	if n := len(r.GetIds()); n == 0 || n > maxIDs {
		return nil, fault.New(fault.Unprocessable, "", "ids must hold 1 to %d ids", maxIDs)
	}
	ids := make([]string, len(r.GetIds()))
	for i, id := range r.GetIds() {
		var err error
		if ids[i], err = parseID("ids", id); err != nil {
			return nil, err
		}
	}
	if _, ok := auth.From(ctx); ok {
		subject, anyone := auth.Owner(ctx)
		ids = slices.DeleteFunc(ids, func(id string) bool { return !anyone && id != subject })
	}
	users, err := s.app.Users(ctx, ids)
	if err != nil {
		return nil, err
	}
	out := &userv1.GetUsersResponse{Users: make([]*userv1.User, len(users))}
	for i, u := range users {
		out.Users[i] = &userv1.User{
			Id: u.ID, Email: string(u.Email), DisplayName: u.DisplayName, Disabled: u.Disabled, Roles: u.Roles, EmailVerified: u.EmailVerified,
			CreatedAt: timestamppb.New(u.CreatedAt),
		}
	}
	return out, nil
}

// ReserveCredit implements userv1.UserServiceServer.
func (s service) ReserveCredit(ctx context.Context, r *userv1.ReserveCreditRequest) (*userv1.ReserveCreditResponse, error) {
	userID, err := parseID("user_id", r.GetUserId())
	if err != nil {
		return nil, err
	}
	amount := domain.Money{MinorUnits: r.GetAmount().GetMinorUnits(), Currency: r.GetAmount().GetCurrencyCode()}
	return &userv1.ReserveCreditResponse{}, s.app.ReserveCredit(ctx, r.GetReservationKey(), userID, amount)
}

// CaptureCredit implements userv1.UserServiceServer.
func (s service) CaptureCredit(ctx context.Context, r *userv1.CaptureCreditRequest) (*userv1.CaptureCreditResponse, error) {
	return &userv1.CaptureCreditResponse{}, s.app.CaptureCredit(ctx, r.GetReservationKey())
}

// ReleaseCredit implements userv1.UserServiceServer.
func (s service) ReleaseCredit(ctx context.Context, r *userv1.ReleaseCreditRequest) (*userv1.ReleaseCreditResponse, error) {
	return &userv1.ReleaseCreditResponse{}, s.app.ReleaseCredit(ctx, r.GetReservationKey())
}

// parseID returns the canonical text of a UUID, as which ids are kept.
func parseID(field, s string) (string, error) {
	id, err := uuid.Parse(s)
	if err != nil || len(s) != 36 {
		return "", fault.New(fault.Unprocessable, "", "%s must be a UUID in its text form", field).
			With(fault.Field{Path: "/" + field, Code: "format", Message: "must be a UUID in its text form"})
	}
	return id.String(), nil
}
