package jetstream

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"cleave/platform/backoff"
	"cleave/platform/event"
)

// Receive fetches batches until ctx ends.
func (p *Pipe) Receive(ctx context.Context, sub event.Subscription, accept func(context.Context, []event.Envelope) error) error {
	r := &receiver{p: p, sub: sub, accept: accept, current: time.Now()}
	for failures := 0; ctx.Err() == nil; {
		err := r.step(ctx)
		if err == nil {
			if failures > 0 {
				p.o.Log.InfoContext(ctx, "events are received again", "subscriber", sub.Subscriber)
			}
			failures = 0
			continue
		}
		if failures++; failures == 1 && ctx.Err() == nil {
			p.o.Log.WarnContext(ctx, "events cannot be received; retrying", "subscriber", sub.Subscriber, "error", err)
		}
		r.consumer = nil
		backoff.Pause(ctx, backoff.Delay(failures, 20*time.Millisecond, time.Second))
	}
	return nil
}

// receiver is one subscriber's work in this process.
type receiver struct {
	p        *Pipe
	sub      event.Subscription
	accept   func(context.Context, []event.Envelope) error
	consumer jetstream.Consumer
	current  time.Time // nothing older is missing
}

// lookBack covers the difference between the clocks of this process and the server.
const lookBack = time.Minute

// step takes one batch from the server to the inbox.
func (r *receiver) step(ctx context.Context) error {
	if r.consumer == nil {
		// Whoever removed the consumer while this process ran, or lost the server's disk, took nothing from the subscriber.
		if err := r.p.ensureStream(ctx, r.sub.Source); err != nil {
			return err
		}
		c, err := r.p.ensureConsumer(ctx, r.sub, r.current.Add(-lookBack))
		if err != nil {
			return err
		}
		r.consumer = c
	}
	asked := time.Now()
	batch, err := r.fetch(ctx)
	if err != nil || len(batch) == 0 {
		return err
	}
	next, err := r.next(ctx, batch)
	if err != nil || !next {
		giveBack(batch)
		backoff.Pause(ctx, 5*time.Millisecond+rand.N(20*time.Millisecond))
		return err
	}
	if !r.store(ctx, batch) {
		giveBack(batch)
		return nil
	}
	r.current = asked
	return acknowledge(ctx, batch)
}

// fetch waits for the first message and takes what there is besides. It
// returns none when the connection changed or nothing came for a while.
func (r *receiver) fetch(ctx context.Context) ([]jetstream.Msg, error) {
	batch, err := r.collect(r.consumer.FetchNoWait(maxBatch))
	if err != nil || len(batch) > 0 {
		return batch, err
	}
	r.p.mu.Lock()
	epoch := r.p.epoch
	r.p.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	defer context.AfterFunc(epoch, cancel)()
	batch, err = r.collect(r.consumer.Fetch(1, jetstream.FetchContext(ctx), jetstream.FetchHeartbeat(time.Second)))
	if len(batch) == 0 {
		if ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) {
			return nil, nil
		}
		return nil, err
	}
	more, err := r.collect(r.consumer.FetchNoWait(maxBatch - 1))
	return append(batch, more...), err
}

func (r *receiver) collect(batch jetstream.MessageBatch, err error) ([]jetstream.Msg, error) {
	if err != nil {
		return nil, err
	}
	var messages []jetstream.Msg
	for m := range batch.Messages() {
		messages = append(messages, m)
	}
	return messages, batch.Error()
}

// next sorts batch and reports whether no message before it is in the hands of
// another process, which may be about to store it, or to die before: then what
// follows has to wait. It may whenever all unacknowledged messages are in
// batch, or when batch follows the last acknowledged one without a gap.
func (r *receiver) next(ctx context.Context, batch []jetstream.Msg) (bool, error) {
	position := make(map[jetstream.Msg]*jetstream.MsgMetadata, len(batch))
	first := true
	for _, m := range batch {
		meta, err := m.Metadata()
		if err != nil {
			return false, err
		}
		position[m] = meta
		first = first && meta.NumDelivered == 1
	}
	slices.SortFunc(batch, func(a, b jetstream.Msg) int {
		return int(int64(position[a].Sequence.Stream) - int64(position[b].Sequence.Stream))
	})
	info, err := r.consumer.Info(ctx)
	if err != nil {
		return false, err
	}
	if info.NumAckPending == len(batch) {
		return true, nil
	}
	for i, m := range batch {
		first = first && position[m].Sequence.Consumer == info.AckFloor.Consumer+1+uint64(i)
	}
	return first, nil
}

// store gives batch to accept until that succeeds, and keeps the messages
// meanwhile. It returns false when ctx ended before.
func (r *receiver) store(ctx context.Context, batch []jetstream.Msg) bool {
	events := make([]event.Envelope, 0, len(batch))
	for _, m := range batch {
		e, err := envelope(m)
		if err != nil {
			r.p.o.Log.ErrorContext(ctx, "a message that is no event is passed over", "subscriber", r.sub.Subscriber, "subject", m.Subject(), "error", err)
			continue
		}
		events = append(events, e)
	}
	defer keep(batch)()
	return event.Insist(ctx, r.p.o.Log, r.sub, events, r.accept)
}

// keep tells the server, until it is stopped, that batch is being worked on.
func keep(batch []jetstream.Msg) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(ackWait / 3)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				for _, m := range batch {
					_ = m.InProgress() // without it the batch comes again, and the inbox refuses it
				}
			}
		}
	}()
	return func() { close(done); <-ended }
}

func giveBack(batch []jetstream.Msg) {
	for _, m := range batch {
		_ = m.Nak() // without it the message comes again after ackWait
	}
}

// acknowledge returns once the server knows that batch is stored.
func acknowledge(ctx context.Context, batch []jetstream.Msg) error {
	last := len(batch) - 1
	for _, m := range batch[:last] {
		if err := m.Ack(); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ackWait)
	defer cancel()
	return batch[last].DoubleAck(ctx)
}
