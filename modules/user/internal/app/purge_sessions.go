package app

import (
	"context"
	"errors"
	"log/slog"
	"time"
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
		ticker := time.NewTicker(purgeEvery)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-ticker.C:
				if err := a.purge(ctx); err != nil && ctx.Err() == nil {
					log.WarnContext(ctx, "expired sessions and tokens stay for now", "error", err)
				}
			}
		}
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
