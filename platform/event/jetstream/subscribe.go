package jetstream

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"cleave/platform/event"
)

const (
	duplicates = 2 * time.Minute   // how long a stream remembers event ids
	maxBatch   = 256               // events that a subscriber may have unacknowledged
	database   = "cleave-database" // of the consumer's metadata: whose inbox it feeds
)

// Subscribe makes a durable consumer for each subscription, and the streams
// that they are of.
func (p *Pipe) Subscribe(ctx context.Context, subs []event.Subscription) error {
	for _, s := range subs {
		if err := p.ensureStream(ctx, s.Source); err != nil {
			return err
		}
		if _, err := p.ensureConsumer(ctx, s, time.Time{}); err != nil {
			return err
		}
	}
	return nil
}

// ensureStream makes the stream of a module unless it exists. Of one that
// does, only the age limit is changed; the rest is the operator's to set.
func (p *Pipe) ensureStream(ctx context.Context, source string) error {
	p.mu.Lock()
	known := p.streams[source]
	p.mu.Unlock()
	if known {
		return nil
	}
	name := p.stream(source)
	s, err := p.js.Stream(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		s, err = p.js.CreateStream(ctx, jetstream.StreamConfig{
			Name: name, Description: "events of the module " + source, Subjects: []string{p.o.Prefix + "." + source + ".>"},
			Storage: jetstream.FileStorage, Retention: jetstream.LimitsPolicy, MaxAge: p.o.Retention, Replicas: p.o.Replicas,
			Duplicates: min(duplicates, p.o.Retention),
			Discard:    jetstream.DiscardNew, // a full stream refuses, and the outbox keeps
		})
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another process was faster
			s, err = p.js.Stream(ctx, name)
		}
	}
	if err != nil {
		return p.failed("make stream "+name, err)
	}
	if c := s.CachedInfo().Config; c.MaxAge != p.o.Retention {
		c.MaxAge, c.Duplicates = p.o.Retention, min(c.Duplicates, p.o.Retention)
		if _, err := p.js.UpdateStream(ctx, c); err != nil {
			return p.failed("set the age limit of stream "+name, err)
		}
	}
	p.mu.Lock()
	p.streams[source] = true
	p.mu.Unlock()
	return nil
}

func (p *Pipe) forgetStream(source string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.streams, source)
}

// ensureConsumer returns the subscriber's consumer, which it makes unless it
// exists. A new one begins now, with the oldest event when s asks for history,
// or at a given time.
func (p *Pipe) ensureConsumer(ctx context.Context, s event.Subscription, from time.Time) (jetstream.Consumer, error) {
	stream, name := p.stream(s.Source), durable(s.Subscriber)
	want := jetstream.ConsumerConfig{
		Durable: name, Description: s.Subscriber, FilterSubject: p.subject(s.Source, s.Type),
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait, MaxDeliver: -1, MaxAckPending: maxBatch,
		InactiveThreshold: p.o.Retention, DeliverPolicy: jetstream.DeliverNewPolicy,
	}
	switch {
	case !from.IsZero():
		want.DeliverPolicy, want.OptStartTime = jetstream.DeliverByStartTimePolicy, &from
	case s.History:
		want.DeliverPolicy = jetstream.DeliverAllPolicy
	}
	c, err := p.js.Consumer(ctx, stream, name)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		c, err = p.js.CreateConsumer(ctx, stream, want)
		if errors.Is(err, jetstream.ErrConsumerExists) { // another process was faster
			c, err = p.js.Consumer(ctx, stream, name)
		}
	}
	if err != nil {
		return nil, p.failed("make the consumer "+name+" of stream "+stream, err)
	}
	has := c.CachedInfo().Config
	if owner := has.Metadata[database]; s.Database != "" && owner != "" && owner != s.Database {
		return nil, fmt.Errorf("the subscriber %s of another database follows the events of %s already: let both processes use one database, give each group of processes a broker of its own, "+
			"or delete the consumer %s of stream %s if that database is gone: %w", s.Subscriber, s.Source, name, stream, event.ErrTaken)
	}
	if s.Database != "" && has.Metadata[database] == "" {
		want.Metadata = maps.Clone(has.Metadata)
		if want.Metadata == nil {
			want.Metadata = map[string]string{}
		}
		want.Metadata[database] = s.Database
	} else {
		want.Metadata = has.Metadata
	}
	if !maps.Equal(has.Metadata, want.Metadata) || has.FilterSubject != want.FilterSubject || has.AckWait != want.AckWait || has.MaxAckPending != want.MaxAckPending || has.InactiveThreshold != want.InactiveThreshold {
		has.FilterSubject, has.AckWait, has.MaxAckPending, has.InactiveThreshold, has.Metadata = want.FilterSubject, want.AckWait, want.MaxAckPending, want.InactiveThreshold, want.Metadata
		if c, err = p.js.UpdateConsumer(ctx, stream, has); err != nil {
			return nil, p.failed("update the consumer "+name+" of stream "+stream, err)
		}
	}
	return c, nil
}
