package forecast

import (
	"context"
	"slices"
	"time"
)

// sample is what calls of one kind took.
type sample struct {
	times []time.Duration
	cpu   time.Duration // of both processes, altogether
}

// settle is how many calls are made before a block that counts.
const settle = 10

// measure adds a block of calls at an even pace to s.
func (b *bench) measure(ctx context.Context, c Calibration, s *sample, do func(context.Context) error) error {
	for range settle {
		if err := do(ctx); err != nil {
			return err
		}
	}
	before, err := b.used(ctx)
	if err != nil {
		return err
	}
	tick := time.NewTicker(c.Every)
	defer tick.Stop()
	for range c.Calls {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		began := time.Now()
		if err := do(ctx); err != nil {
			return err
		}
		s.times = append(s.times, time.Since(began))
	}
	after, err := b.used(ctx)
	s.cpu += after - before
	return err
}

// minus is what a call of s costs more than one of near.
func (s sample) minus(near sample) Cost {
	slices.Sort(s.times)
	slices.Sort(near.times)
	more := func(q float64) time.Duration { return max(0, at(s.times, q)-at(near.times, q)) }
	c := Cost{P50: more(0.5), P99: more(0.99), CPU: max(0, s.cpu/time.Duration(len(s.times))-near.cpu/time.Duration(len(near.times)))}
	c.P99 = max(c.P99, c.P50)
	return c
}

func at(sorted []time.Duration, q float64) time.Duration {
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}
