package main

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"time"
)

// sample is what one round of load gave.
type sample struct {
	done    int
	elapsed time.Duration
	times   []time.Duration // of each operation, sorted
}

func (s sample) rate() float64 { return float64(s.done) / s.elapsed.Seconds() }

// quantile is the time that a share q of the operations did not exceed.
func (s sample) quantile(q float64) time.Duration { return quantile(s.times, q) }

func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	i := int(math.Ceil(q*float64(len(sorted)))) - 1
	return sorted[min(max(i, 0), len(sorted)-1)]
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(values))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// drive runs operation in a loop in each of n workers for a while, and waits
// for those under way. The first error ends the round.
func drive(ctx context.Context, n int, d time.Duration, operation func(worker int) error) (sample, error) {
	var (
		mu    sync.Mutex
		wg    sync.WaitGroup
		s     sample
		errs  []error
		began = time.Now()
		end   = began.Add(d)
	)
	running, cancel := context.WithCancel(ctx)
	defer cancel()
	for w := range n {
		wg.Go(func() {
			times := make([]time.Duration, 0, 1<<14)
			var err error
			last := time.Now()
			for err == nil && last.Before(end) && running.Err() == nil {
				err = operation(w)
				now := time.Now()
				times = append(times, now.Sub(last))
				last = now
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err)
				cancel()
			}
			s.times = append(s.times, times...)
		})
	}
	wg.Wait()
	s.elapsed, s.done = time.Since(began), len(s.times)
	slices.Sort(s.times)
	return s, errors.Join(append(errs, ctx.Err())...)
}
