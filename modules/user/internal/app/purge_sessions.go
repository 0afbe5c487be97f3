package app

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"cleave/platform/repeat"
)

const (
	purgeEvery = time.Hour
	purgeBatch = 500 // sessions per transaction
	// keepRequests is how long the replay of a code is noticed after it has expired.
	keepRequests = 24 * time.Hour
)

// PurgeSessions removes expired sessions and mailed tokens, hourly until ctx ends.
func (a *App) PurgeSessions(log *slog.Logger) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		return repeat.Every(ctx, purgeEvery, repeat.Report{
			Log: log, Level: slog.LevelWarn, Failing: "expired sessions and tokens stay for now", Again: "expired sessions and tokens are removed again",
		}, a.purge)
	}
}

func (a *App) purge(ctx context.Context) error {
	if err := errors.Join(a.Store.PurgeMailTokens(ctx, a.now()), a.Store.PurgeChallenges(ctx, a.now())); err != nil {
		return err
	}
	if err := a.Store.PurgeAuthRequests(ctx, a.now().Add(-keepRequests)); err != nil {
		return err
	}
	for {
		n, err := a.Store.PurgeSessions(ctx, a.now(), purgeBatch)
		if err != nil || n < purgeBatch {
			return err
		}
	}
}
