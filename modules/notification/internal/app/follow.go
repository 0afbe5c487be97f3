package app

import (
	"context"
	"sync/atomic"
	"time"

	"cleave/modules/notification/internal/domain"
)

const (
	// feedPage is how many notifications a feed reads at once.
	feedPage = 100
	// feedPoll is how soon a feed hears of what another process has committed.
	feedPoll = time.Second
	// feedChunk is how many users one poll asks about at once.
	feedChunk = 500
)

// Feed gives a user's notifications one by one, each once, in the order of
// their numbers. It is for one goroutine, and must be closed.
type Feed struct {
	app    *App
	userID string
	wake   chan struct{}
	after  atomic.Int64 // the number of the last one given
	buffer []domain.Notification
}

// Follow opens a feed of what comes after the user's notification lastID, or,
// without one that the user has, of what comes from now on. A user may have 5
// feeds in this process; one more is Exhausted, too_many_streams.
func (a *App) Follow(ctx context.Context, userID, lastID string) (*Feed, error) {
	f := &Feed{app: a, userID: userID, wake: make(chan struct{}, 1)}
	if err := a.feeds.add(f); err != nil {
		return nil, err
	}
	after, err := a.startOf(ctx, userID, lastID)
	if err != nil {
		f.Close()
		return nil, err
	}
	f.after.Store(after)
	return f, nil
}

func (a *App) startOf(ctx context.Context, userID, lastID string) (int64, error) {
	if lastID != "" {
		if seq, err := a.Store.SeqOf(ctx, userID, lastID); err != nil || seq != 0 {
			return seq, err
		}
	}
	last, err := a.Store.LastSeqs(ctx, []string{userID})
	return last[userID], err
}

// Next waits for the next notification. When ctx ends first it returns ctx's
// error, and nothing is skipped: the next call goes on from there.
func (f *Feed) Next(ctx context.Context) (domain.Notification, error) {
	for len(f.buffer) == 0 {
		page, err := f.app.Store.NotificationsAfter(ctx, f.userID, f.after.Load(), feedPage)
		if err != nil {
			return domain.Notification{}, err
		}
		if f.buffer = page; len(page) > 0 {
			break
		}
		select {
		case <-ctx.Done():
			return domain.Notification{}, ctx.Err()
		case <-f.wake:
		}
	}
	n := f.buffer[0]
	f.buffer = f.buffer[1:]
	f.after.Store(n.Seq)
	return n, nil
}

// Close gives the user's place back.
func (f *Feed) Close() { f.app.feeds.remove(f) }

// WatchFeeds wakes the feeds whose notifications another process has written,
// until ctx ends.
func (a *App) WatchFeeds(ctx context.Context) error {
	a.every(ctx, feedPoll, nil, "looking for notifications to stream", func(ctx context.Context) error {
		users := a.feeds.users()
		for len(users) > 0 {
			chunk := users[:min(len(users), feedChunk)]
			users = users[len(chunk):]
			last, err := a.Store.LastSeqs(ctx, chunk)
			if err != nil {
				return err
			}
			for user, seq := range last {
				a.feeds.wakeBehind(user, seq)
			}
		}
		return nil
	})
	return nil
}
