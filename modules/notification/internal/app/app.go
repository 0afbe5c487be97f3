// Package app holds the use cases of the notification module: telling users
// what happened, in their inbox and by mail, and what users do with that.
//
// An event has its effect in the inbox exactly once: the notification, or the
// mail to be sent, commits together with the mark that the event was handled.
// The mail itself is sent afterwards, at least once; a repeat has the same
// Message-ID.
//
// Events of different modules, and of different types, are not ordered among
// each other. So news may come before the user it is for is known: it goes into
// the inbox at once, because that needs nothing but the user's id, and its mail
// waits for the address.
package app

import (
	"context"
	"log/slog"
	"time"

	"cleave/modules/notification/internal/domain"
	"cleave/modules/notification/internal/store"
	"cleave/platform/db"
	"cleave/platform/fault"
)

// Writer puts news into words.
type Writer interface {
	Notice(n domain.News) (title, body string, err error)
	Mail(n domain.News, name string) (subject, text, html string, err error)
}

// Post takes mails away. It serves one goroutine.
type Post interface {
	// Send returns nil once m is in other hands. Unprocessable means that it
	// never will be, Unavailable that no other mail can leave now either, and
	// any other fault that a later attempt may succeed. A fault's message
	// holds nothing personal, unlike its cause, unless it is Unavailable.
	Send(ctx context.Context, m domain.Mail) error
	// Forget removes what is kept of mails to an address.
	Forget(email string) error
	// Idle lets go of what Send keeps open.
	Idle()
}

// Deps are what the use cases stand on.
type Deps struct {
	DB     *db.DB
	Store  *store.Store
	Writer Writer
	Post   Post
	Log    *slog.Logger
	Now    func() time.Time
	NewID  func() string
	Mail   MailPolicy
	// Forget erases what the platform keeps of a user in the module's database.
	Forget func(ctx context.Context, userID string) error
}

// App is the module's use cases.
type App struct {
	Deps
	feeds *feeds
	wake  chan struct{} // holds a token when there may be mails to send
}

// New returns the use cases.
func New(d Deps) *App {
	return &App{Deps: d, feeds: newFeeds(), wake: make(chan struct{}, 1)}
}

// now is the time as the tables keep it: in UTC, in whole microseconds.
func (a *App) now() time.Time { return a.Now().UTC().Truncate(time.Microsecond) }

// nudge leaves a token for whoever waits, without waiting.
func nudge(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}

// every calls do at once and then in each interval, until ctx ends. It logs
// the first of a row of failures, and that they are over.
func (a *App) every(ctx context.Context, interval time.Duration, wake <-chan struct{}, what string, do func(context.Context) error) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	failing := false
	for {
		err := do(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !failing:
			a.Log.ErrorContext(ctx, what+" failed; will try again", "error", err)
		case err == nil && failing:
			a.Log.InfoContext(ctx, what+" works again")
		}
		failing = err != nil
		nudged := wake
		if failing {
			nudged = nil // a nudge mends nothing
		}
		select {
		case <-ctx.Done():
			return
		case <-nudged:
		case <-ticker.C:
		}
	}
}

func errNoNotification() error {
	return fault.New(fault.NotFound, "notification_not_found", "there is no such notification")
}
