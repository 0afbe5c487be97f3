// Package repeat does what a process does again and again beside answering, such as following what its other replicas have written.
package repeat

import (
	"context"
	"log/slog"
	"time"
)

// Report says what is logged of failures: the first in a row, and that they are over. The zero Level is that of information.
type Report struct {
	Log     *slog.Logger
	Level   slog.Level // of Failing
	Failing string
	Again   string // at the level of information
}

// Every calls do after each interval until ctx ends, and then returns nil. An error does not end it.
func Every(ctx context.Context, interval time.Duration, r Report, do func(context.Context) error) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		err := do(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !failing:
			r.Log.Log(ctx, r.Level, r.Failing, "error", err)
		case err == nil && failing:
			r.Log.InfoContext(ctx, r.Again)
		}
		failing = err != nil
	}
}
