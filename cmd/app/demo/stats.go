package demo

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// summary is the outcome of a run, for standard output.
type summary struct {
	URL       string  `json:"url"`
	Seed      uint64  `json:"seed"`
	Seconds   float64 `json:"seconds"` // from the first order to the last acknowledgement
	Rate      float64 `json:"orders_per_second"`
	Placed    int64   `json:"placed"`
	Confirmed int64   `json:"confirmed"` // also those that went on to be shipped or cancelled
	Rejected  int64   `json:"rejected"`
	Cancelled int64   `json:"cancelled"`
	Shipped   int64   `json:"shipped"`
	Delivered int64   `json:"delivered"`
	Errors    int64   `json:"errors"` // orders that did not go as planned
	P50       float64 `json:"p50_ms"` // of placing, from when the order was due
	P99       float64 `json:"p99_ms"`
}

// maxProblems bounds the kinds of failures that are told apart.
const maxProblems = 10

type stats struct {
	began                                              time.Time
	confirmed, rejected, cancelled, shipped, delivered atomic.Int64

	mu       sync.Mutex
	last     time.Time // when the last order was acknowledged
	times    histogram
	failures map[string]int64
	errors   int64
}

func newStats() *stats { return &stats{failures: map[string]int64{}} }

func (s *stats) begin() { s.began = time.Now() }

func (s *stats) placed(took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.times.add(took)
	s.last = time.Now()
}

func (s *stats) failed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.errors++
	text := err.Error()
	if _, known := s.failures[text]; !known && len(s.failures) >= maxProblems {
		text = "others"
	}
	s.failures[text]++
}

// problems tells what failed how often.
func (s *stats) problems() (lines []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, text := range slices.Sorted(maps.Keys(s.failures)) {
		lines = append(lines, fmt.Sprintf("%d × %s", s.failures[text], text))
	}
	return lines
}

func (s *stats) line() string {
	m := s.summary(&options{})
	return fmt.Sprintf("%.0f s: placed %d (%.0f/s), confirmed %d, rejected %d, cancelled %d, shipped %d, delivered %d, errors %d, p50 %.1f ms, p99 %.1f ms",
		time.Since(s.began).Seconds(), m.Placed, m.Rate, m.Confirmed, m.Rejected, m.Cancelled, m.Shipped, m.Delivered, m.Errors, m.P50, m.P99)
}

func (s *stats) summary(o *options) summary {
	s.mu.Lock()
	defer s.mu.Unlock()
	var seconds float64
	if s.times.n > 0 {
		seconds = s.last.Sub(s.began).Seconds()
	}
	m := summary{
		URL: o.url, Seed: o.seed, Seconds: tenths(seconds), Placed: s.times.n, Confirmed: s.confirmed.Load(), Rejected: s.rejected.Load(),
		Cancelled: s.cancelled.Load(), Shipped: s.shipped.Load(), Delivered: s.delivered.Load(), Errors: s.errors,
		P50: milliseconds(s.times.quantile(0.5)), P99: milliseconds(s.times.quantile(0.99)),
	}
	if seconds > 0 {
		m.Rate = tenths(float64(m.Placed) / seconds)
	}
	return m
}

func tenths(f float64) float64 { return math.Round(f*10) / 10 }

func milliseconds(d time.Duration) float64 { return tenths(float64(d) / float64(time.Millisecond)) }

// histogram counts durations in buckets whose bounds grow by a twentieth, so
// that a quantile is exact to 5 %.
type histogram struct {
	n       int64
	buckets [400]int64
}

const (
	smallest = 100 * time.Microsecond // the upper bound of the first bucket; that of the last is hours
	growth   = 1.05
)

func (h *histogram) add(d time.Duration) {
	i := 0
	if d > smallest {
		i = int(math.Ceil(math.Log(float64(d)/float64(smallest)) / math.Log(growth)))
	}
	h.buckets[min(i, len(h.buckets)-1)]++
	h.n++
}

// quantile is the upper bound of the bucket that holds it, 0 when nothing was
// counted.
func (h *histogram) quantile(q float64) time.Duration {
	rank := int64(math.Ceil(q * float64(h.n)))
	if rank == 0 {
		return 0
	}
	for i, n := range h.buckets {
		if rank -= n; rank <= 0 {
			return time.Duration(float64(smallest) * math.Pow(growth, float64(i)))
		}
	}
	return 0
}
