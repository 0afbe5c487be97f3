// Package api is the user module's side of the wire: its REST operations and the gRPC service that other modules call.
package api

import (
	"context"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"cleave/modules/user/internal/app"
	"cleave/modules/user/internal/domain"
	"cleave/modules/user/internal/store"
	"cleave/platform/auth"
	"cleave/platform/db"
	"cleave/platform/fault"
	"cleave/platform/rest"
)

// server implements the generated StrictServerInterface.
type server struct {
	app     *app.App
	cursors *rest.Cursors
}

var _ StrictServerInterface = server{}

// Routes returns what registers the module's REST operations.
func Routes(a *app.App, cursors *rest.Cursors) func(gin.IRouter) {
	handler := NewStrictHandlerWithOptions(server{app: a, cursors: cursors}, nil, StrictGinServerOptions{
		RequestErrorHandlerFunc:  rest.RequestError,
		HandlerErrorFunc:         rest.HandlerError,
		ResponseErrorHandlerFunc: rest.HandlerError,
	})
	return func(router gin.IRouter) {
		RegisterHandlersWithOptions(router, handler, GinServerOptions{
			ErrorHandler: func(c *gin.Context, err error, _ int) { rest.RequestError(c, err) },
		})
	}
}

// caller is who made the request. The platform lets nobody through to an operation that needs a caller without one.
func caller(ctx context.Context) (auth.Principal, error) {
	p, ok := auth.From(ctx)
	if !ok {
		return p, fault.New(fault.Unauthenticated, "", "this needs an access token")
	}
	return p, nil
}

const defaultLimit = 20

// page reads the part of a list that a request asks for. The filter must be the same for all pages of one list.
func (s server) page(list, filter string, limit *Limit, cursor *Cursor) (store.Page, error) {
	p := store.Page{Limit: defaultLimit}
	if limit != nil {
		p.Limit = int(*limit)
	}
	if cursor != nil {
		at, err := s.cursors.Decode(list, filter, *cursor)
		if err != nil {
			return p, err
		}
		p.Before, p.BeforeID = at.At, at.ID
	}
	return p, nil
}

// next is where a list goes on after an item.
func (s server) next(list, filter string, after rest.Position) *NextCursor {
	cursor := s.cursors.Encode(list, filter, after)
	return &cursor
}

func userPosition(u domain.User) rest.Position {
	return rest.Position{At: db.Micros(u.CreatedAt), ID: u.ID}
}

func entryPosition(e domain.Entry) rest.Position {
	return rest.Position{At: db.Micros(e.CreatedAt), ID: e.ID}
}

func wireUser(u domain.User) (User, error) {
	id, err := uuid.Parse(u.ID)
	return User{
		ID: id, Email: string(u.Email), DisplayName: u.DisplayName, Roles: append([]string{}, u.Roles...), Disabled: u.Disabled, EmailVerified: u.EmailVerified,
		PendingEmail: rest.Optional(string(u.PendingEmail)),
		CreatedAt:    u.CreatedAt, UpdatedAt: u.UpdatedAt, Version: u.Version,
	}, err
}

func wireTokens(t app.Tokens) (TokenPair, error) {
	id, err := uuid.Parse(t.UserID)
	return TokenPair{
		AccessToken: t.Access, TokenType: TokenPairTokenTypeBearer, ExpiresIn: int32(t.ExpiresIn.Seconds()), RefreshToken: t.Refresh, UserID: id,
	}, err
}

func wireCredit(a domain.Account) (Credit, error) {
	id, err := uuid.Parse(a.UserID)
	return Credit{
		UserID: id, Currency: a.Currency, Granted: a.Granted, Available: a.Available, Reserved: a.Reserved, Captured: a.Captured, Version: a.Version,
	}, err
}

func wireEntry(e domain.Entry) (LedgerEntry, error) {
	id, err := uuid.Parse(e.ID)
	return LedgerEntry{
		ID: id, Kind: LedgerEntryKind(e.Kind), Amount: Money{MinorUnits: e.Amount.MinorUnits, Currency: e.Amount.Currency},
		ReservationKey: rest.Optional(e.ReservationKey), Note: rest.Optional(e.Note), CreatedAt: e.CreatedAt,
	}, err
}
