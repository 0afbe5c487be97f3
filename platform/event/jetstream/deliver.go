package jetstream

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"cleave/platform/event"
)

// Deliver publishes events in waves and waits until JetStream has acknowledged
// each. The event's id keeps JetStream from storing a repeat of the last two
// minutes.
func (p *Pipe) Deliver(ctx context.Context, source string, events []event.Envelope) error {
	if err := p.ensureStream(ctx, source); err != nil {
		return err
	}
	var rejected event.Rejected
	for _, wave := range event.Waves(events) {
		if err := p.publish(ctx, source, wave, &rejected); err != nil {
			if errors.Is(err, jetstream.ErrNoStreamResponse) {
				p.forgetStream(source)
			}
			return err
		}
	}
	if len(rejected.IDs) > 0 {
		return &rejected
	}
	return nil
}

func (p *Pipe) publish(ctx context.Context, source string, wave []event.Envelope, rejected *event.Rejected) error {
	futures := make([]jetstream.PubAckFuture, len(wave))
	var failed error
	for i, e := range wave {
		f, err := p.js.PublishMsgAsync(p.message(e), jetstream.WithMsgID(e.ID), jetstream.WithExpectStream(p.stream(source)), jetstream.WithRetryAttempts(0))
		switch {
		case errors.Is(err, nats.ErrMaxPayload):
			reject(rejected, e, err)
		case err != nil:
			failed = p.failed("publish to NATS", err)
		default:
			futures[i] = f
		}
		if failed != nil {
			break
		}
	}
	for i, f := range futures {
		if f == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-f.Ok():
		case err := <-f.Err():
			if errors.Is(err, jetstream.ErrStreamMessageExceedsMaximum) {
				reject(rejected, wave[i], err)
			} else if failed == nil {
				failed = p.failed("publish to stream "+p.stream(source), err)
			}
		}
	}
	return failed
}

func reject(r *event.Rejected, e event.Envelope, err error) {
	r.IDs = append(r.IDs, e.ID)
	r.Err = fmt.Errorf("NATS takes no event of %d bytes: %w", len(e.Payload), err)
}
