package event

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// instruments measure delivery without asking a database. Their names, all of
// which begin with cleave.event:
//
//   - relayed: events that a pipe has taken, by module
//   - undeliverable: events that a pipe refused for good, by module
//   - handled, retried and dead: outcomes, by subscriber
//   - ignored: events received and not stored, by subscriber and reason
//   - attempt.duration: seconds that one run of a handler took, by subscriber
//   - latency: seconds from publishing to the effect's commit, by subscriber
type instruments struct {
	relayed, undeliverable, handled, retried, dead, ignored metric.Int64Counter
	attempt, latency                                        metric.Float64Histogram
}

func newInstruments(m metric.Meter) (i instruments, err error) {
	counter := func(name, what string) metric.Int64Counter {
		c, e := m.Int64Counter("cleave.event."+name, metric.WithDescription(what), metric.WithUnit("{event}"))
		if e != nil {
			err = e
		}
		return c
	}
	seconds := func(name, what string) metric.Float64Histogram {
		h, e := m.Float64Histogram("cleave.event."+name, metric.WithDescription(what), metric.WithUnit("s"),
			metric.WithExplicitBucketBoundaries(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30, 300))
		if e != nil {
			err = e
		}
		return h
	}
	return instruments{
		relayed:       counter("relayed", "Events that the pipe has taken."),
		undeliverable: counter("undeliverable", "Events that the pipe refused for good."),
		handled:       counter("handled", "Events whose effect was committed."),
		retried:       counter("retried", "Failed attempts that will be repeated."),
		dead:          counter("dead", "Events that became dead letters."),
		ignored:       counter("ignored", "Events that were received and not stored."),
		attempt:       seconds("attempt.duration", "Run of a handler."),
		latency:       seconds("latency", "From publishing to the commit of the effect."),
	}, err
}

// stats are the instruments of one subscriber or outbox.
type stats struct {
	instruments
	attrs metric.MeasurementOption
	name  attribute.KeyValue
}

func (i instruments) of(key, name string) *stats {
	attr := attribute.String(key, name)
	return &stats{instruments: i, attrs: metric.WithAttributeSet(attribute.NewSet(attr)), name: attr}
}

func (s *stats) took(ctx context.Context, events, refused int) {
	s.instruments.relayed.Add(ctx, int64(events), s.attrs)
	s.instruments.undeliverable.Add(ctx, int64(refused), s.attrs)
}

func (s *stats) handled(ctx context.Context, latency time.Duration) {
	s.instruments.handled.Add(ctx, 1, s.attrs)
	s.instruments.latency.Record(ctx, latency.Seconds(), s.attrs)
}

func (s *stats) retried(ctx context.Context) { s.instruments.retried.Add(ctx, 1, s.attrs) }
func (s *stats) dead(ctx context.Context)    { s.instruments.dead.Add(ctx, 1, s.attrs) }

func (s *stats) attempted(ctx context.Context, took time.Duration) {
	s.instruments.attempt.Record(ctx, took.Seconds(), s.attrs)
}

func (s *stats) ignored(ctx context.Context, reason string) {
	s.instruments.ignored.Add(ctx, 1, metric.WithAttributes(s.name, attribute.String("reason", reason)))
}
