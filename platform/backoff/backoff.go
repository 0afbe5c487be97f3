// Package backoff computes how long to wait before an attempt that is stored,
// not looped over: the next attempt may run in another process.
package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

// Delay is the wait after the given number of failed attempts (1 or more):
// exponential from min, at most max, with equal jitter, so between half of it
// and the whole.
func Delay(attempts int, minimum, maximum time.Duration) time.Duration {
	d := maximum
	if shift := attempts - 1; shift < 30 && minimum<<shift < maximum {
		d = minimum << shift
	}
	return d/2 + rand.N(d/2+1)
}

// Pause returns after d, or as soon as ctx ends.
func Pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
