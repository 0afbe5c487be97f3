package rabbit

import (
	"context"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"cleave/platform/backoff"
	"cleave/platform/event"
)

const maxBatch = 256 // events that a subscriber may have unacknowledged

// Receive consumes the subscriber's queue until ctx ends.
func (p *Pipe) Receive(ctx context.Context, sub event.Subscription, accept func(context.Context, []event.Envelope) error) error {
	for failures := 0; ctx.Err() == nil; {
		began := time.Now()
		err := p.consume(ctx, sub, accept)
		if failures++; time.Since(began) > time.Minute {
			failures = 1
		}
		if err != nil && failures == 1 && ctx.Err() == nil {
			p.o.Log.WarnContext(ctx, "events cannot be received; retrying", "subscriber", sub.Subscriber, "error", err)
		}
		backoff.Pause(ctx, backoff.Delay(failures, 50*time.Millisecond, time.Second))
	}
	return nil
}

// consume works until the channel or ctx ends. What was not acknowledged goes
// back to its place in the queue then.
func (p *Pipe) consume(ctx context.Context, sub event.Subscription, accept func(context.Context, []event.Envelope) error) error {
	if err := p.ensureQueue(sub); err != nil { // somebody may have removed it
		return err
	}
	ch, err := p.channel(&p.receive)
	if err != nil {
		return err
	}
	defer ch.Close()
	closed := ch.NotifyClose(make(chan *amqp.Error, 1))
	if err := ch.Qos(maxBatch, 0, false); err != nil {
		return failed("limit what is under way", err)
	}
	deliveries, err := ch.Consume(p.queue(sub.Subscriber), "", false, false, false, false, nil)
	if err != nil {
		return failed("consume "+p.queue(sub.Subscriber), err)
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case d, ok := <-deliveries:
			if !ok {
				if reason := <-closed; reason != nil {
					return failed("consume "+p.queue(sub.Subscriber), reason)
				}
				return failed("consume "+p.queue(sub.Subscriber), amqp.ErrClosed)
			}
			batch := gather(d, deliveries)
			if !p.store(ctx, sub, batch, accept) {
				return nil
			}
			if err := batch[len(batch)-1].Ack(true); err != nil {
				return failed("acknowledge", err)
			}
		}
	}
}

// gather takes what has arrived besides first.
func gather(first amqp.Delivery, more <-chan amqp.Delivery) []amqp.Delivery {
	batch := []amqp.Delivery{first}
	for len(batch) < maxBatch {
		select {
		case d, ok := <-more:
			if !ok {
				return batch
			}
			batch = append(batch, d)
		default:
			return batch
		}
	}
	return batch
}

// store gives batch to accept until that succeeds. It returns false when ctx
// ended before.
func (p *Pipe) store(ctx context.Context, sub event.Subscription, batch []amqp.Delivery, accept func(context.Context, []event.Envelope) error) bool {
	events := make([]event.Envelope, 0, len(batch))
	for _, d := range batch {
		e, err := envelope(d)
		if err != nil {
			p.o.Log.ErrorContext(ctx, "a message that is no event is passed over", "subscriber", sub.Subscriber, "error", err)
			continue
		}
		events = append(events, e)
	}
	return event.Insist(ctx, p.o.Log, sub, events, accept)
}
