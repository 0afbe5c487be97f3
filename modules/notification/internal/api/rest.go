// Package api is the notification module's side of the wire: its REST
// operations, its event stream and its reactions to other modules' events.
package api

import (
	"context"
	"fmt"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"cleave/modules/notification/internal/app"
	"cleave/modules/notification/internal/domain"
	"cleave/modules/notification/internal/store"
	"cleave/platform/auth"
	"cleave/platform/fault"
	"cleave/platform/rest"
)

// server implements the generated StrictServerInterface, and the stream.
type server struct {
	app     *app.App
	cursors *rest.Cursors
}

var _ StrictServerInterface = server{}

// Routes returns what registers the module's REST operations.
func Routes(a *app.App, cursors *rest.Cursors) func(gin.IRouter) {
	s := server{app: a, cursors: cursors}
	handler := NewStrictHandlerWithOptions(s, nil, StrictGinServerOptions{
		RequestErrorHandlerFunc:  rest.RequestError,
		HandlerErrorFunc:         rest.HandlerError,
		ResponseErrorHandlerFunc: rest.HandlerError,
	})
	return func(router gin.IRouter) {
		RegisterHandlersWithOptions(router, handler, GinServerOptions{
			ErrorHandler: func(c *gin.Context, err error, _ int) { rest.RequestError(c, err) },
		})
		router.GET("/api/v1/notifications/stream", s.stream)
	}
}

// caller is the id of the user who made the request. The platform lets nobody
// through without one.
func caller(ctx context.Context) (string, error) {
	p, ok := auth.From(ctx)
	if !ok {
		return "", fault.New(fault.Unauthenticated, "", "this needs an access token")
	}
	return p.Subject, nil
}

const defaultLimit = 20

// ListNotifications answers with a page of the caller's notifications.
func (s server) ListNotifications(ctx context.Context, r ListNotificationsRequestObject) (ListNotificationsResponseObject, error) {
	user, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	const name = "listNotifications"
	filter := "user=" + user
	if r.Params.Unread != nil {
		filter += fmt.Sprint(" unread=", *r.Params.Unread)
	}
	f := store.Filter{Unread: r.Params.Unread, Limit: defaultLimit}
	if r.Params.Limit != nil {
		f.Limit = int(*r.Params.Limit)
	}
	if r.Params.Cursor != nil {
		at, err := s.cursors.Decode(name, filter, *r.Params.Cursor)
		if err != nil {
			return nil, err
		}
		f.Before = at.At
	}
	page, more, err := s.app.List(ctx, user, f)
	if err != nil {
		return nil, err
	}
	out := ListNotifications200JSONResponse{Items: make([]Notification, len(page))}
	for i, n := range page {
		if out.Items[i], err = wireNotification(n); err != nil {
			return nil, err
		}
	}
	if more {
		// A user's notifications are numbered, so the number alone is the position.
		cursor := s.cursors.Encode(name, filter, rest.Position{At: page[len(page)-1].Seq})
		out.NextCursor = &cursor
	}
	return out, nil
}

// CountUnreadNotifications answers with a number.
func (s server) CountUnreadNotifications(ctx context.Context, _ CountUnreadNotificationsRequestObject) (CountUnreadNotificationsResponseObject, error) {
	user, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	n, err := s.app.CountUnread(ctx, user)
	return CountUnreadNotifications200JSONResponse{Unread: n}, err
}

// MarkNotificationRead answers with the notification, read.
func (s server) MarkNotificationRead(ctx context.Context, r MarkNotificationReadRequestObject) (MarkNotificationReadResponseObject, error) {
	user, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	n, err := s.app.MarkRead(ctx, user, r.NotificationID.String())
	if err != nil {
		return nil, err
	}
	body, err := wireNotification(n)
	return MarkNotificationRead200JSONResponse(body), err
}

// MarkAllNotificationsRead answers with how many were not read.
func (s server) MarkAllNotificationsRead(ctx context.Context, _ MarkAllNotificationsReadRequestObject) (MarkAllNotificationsReadResponseObject, error) {
	user, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	n, err := s.app.MarkAllRead(ctx, user)
	return MarkAllNotificationsRead200JSONResponse{Marked: n}, err
}

func wireNotification(n domain.Notification) (w Notification, err error) {
	w = Notification{Kind: NotificationKind(n.Kind), Title: n.Title, Body: n.Body, CreatedAt: n.CreatedAt}
	if w.ID, err = uuid.Parse(n.ID); err != nil {
		return w, err
	}
	if n.OrderID != "" {
		order, err := uuid.Parse(n.OrderID)
		if err != nil {
			return w, err
		}
		w.OrderID = &order
	}
	if !n.ReadAt.IsZero() {
		w.ReadAt = &n.ReadAt
	}
	return w, nil
}
