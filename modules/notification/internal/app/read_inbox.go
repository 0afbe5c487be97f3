package app

import (
	"context"

	"cleave/modules/notification/internal/domain"
	"cleave/modules/notification/internal/store"
)

// List reads a page of a user's notifications, the newest first, and whether
// there are more after it.
func (a *App) List(ctx context.Context, userID string, f store.Filter) (page []domain.Notification, more bool, err error) {
	limit := f.Limit
	f.Limit++
	if page, err = a.Store.Notifications(ctx, userID, f); err != nil {
		return nil, false, err
	}
	if len(page) > limit {
		return page[:limit], true, nil
	}
	return page, false, nil
}

// CountUnread counts a user's unread notifications.
func (a *App) CountUnread(ctx context.Context, userID string) (int64, error) {
	return a.Store.CountUnread(ctx, userID)
}

// MarkRead marks one of a user's notifications as read; marking it again
// changes nothing. It fails with NotFound when the user has no such
// notification, whoever else may have it.
func (a *App) MarkRead(ctx context.Context, userID, id string) (domain.Notification, error) {
	var n domain.Notification
	err := a.DB.Tx(ctx, func(ctx context.Context) (err error) {
		var found bool
		if n, found, err = a.Store.MarkRead(ctx, userID, id, a.now()); err == nil && !found {
			err = errNoNotification()
		}
		return err
	})
	return n, err
}

// MarkAllRead marks all of a user's notifications as read and returns how many
// were not.
func (a *App) MarkAllRead(ctx context.Context, userID string) (marked int64, err error) {
	err = a.DB.Tx(ctx, func(ctx context.Context) error {
		marked, err = a.Store.MarkAllRead(ctx, userID, a.now())
		return err
	})
	return marked, err
}
