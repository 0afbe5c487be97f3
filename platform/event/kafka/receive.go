package kafka

import (
	"context"
	"errors"
	"time"

	"github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/ThreeDotsLabs/watermill/message"

	"cleave/platform/backoff"
	"cleave/platform/event"
)

// Receive joins the subscriber's consumer group until ctx ends.
func (p *Pipe) Receive(ctx context.Context, sub event.Subscription, accept func(context.Context, []event.Envelope) error) error {
	for failures := 1; ctx.Err() == nil; failures++ {
		if err := p.join(ctx, sub, accept); err != nil && failures == 1 && ctx.Err() == nil {
			p.o.Log.WarnContext(ctx, "events cannot be received; retrying", "subscriber", sub.Subscriber, "error", err)
		}
		backoff.Pause(ctx, backoff.Delay(failures, 50*time.Millisecond, time.Second))
	}
	return nil
}

func (p *Pipe) join(ctx context.Context, sub event.Subscription, accept func(context.Context, []event.Envelope) error) (err error) {
	group, err := kafka.NewSubscriber(kafka.SubscriberConfig{
		Brokers: p.o.Brokers, Unmarshaler: wire{}, OverwriteSaramaConfig: p.config(), ConsumerGroup: p.group(sub.Subscriber),
		NackResendSleep: 50 * time.Millisecond, ReconnectRetrySleep: 200 * time.Millisecond,
	}, logger{p.o.Log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, group.Close()) }()
	messages, err := group.Subscribe(ctx, p.topic(sub.Source))
	if err != nil {
		return failed("join the consumer group of "+sub.Subscriber, err)
	}
	for m := range messages {
		batch := gather(m, messages)
		if !p.store(ctx, sub, batch, accept) {
			for _, m := range batch {
				m.Nack()
			}
			return nil
		}
		for _, m := range batch {
			m.Ack()
		}
	}
	return nil
}

// gather takes what other partitions hold ready besides first; each gives its
// next message after the acknowledgement of the last.
func gather(first *message.Message, more <-chan *message.Message) []*message.Message {
	batch := []*message.Message{first}
	for {
		select {
		case m, ok := <-more:
			if !ok {
				return batch
			}
			batch = append(batch, m)
		default:
			return batch
		}
	}
}

// store gives batch to accept until that succeeds. It returns false when ctx
// ended before.
func (p *Pipe) store(ctx context.Context, sub event.Subscription, batch []*message.Message, accept func(context.Context, []event.Envelope) error) bool {
	var events []event.Envelope
	for _, m := range batch {
		if m.Metadata.Get(attributePrefix+"type") != sub.Type {
			continue
		}
		e, err := envelope(m)
		if err != nil {
			p.o.Log.ErrorContext(ctx, "a message that is no event is passed over", "subscriber", sub.Subscriber, "partition/offset", m.UUID, "error", err)
			continue
		}
		events = append(events, e)
	}
	return event.Insist(ctx, p.o.Log, sub, events, accept)
}
