package event

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// NewInProcess returns the pipe between modules of one process: Deliver puts
// the events straight into the inbox of every subscriber, and whatever fails
// stays in the outbox. It holds nothing itself, so there is no history.
func NewInProcess() Pipe { return &inProcess{subscribers: map[string][]*hop{}} }

type inProcess struct {
	mu          sync.Mutex
	subscribers map[string][]*hop // by event type
}

// hop is where one subscriber receives.
type hop struct {
	subscriber string
	receiving  chan struct{} // closed when accept is set for the first time
	mu         sync.RWMutex  // held for reading while accept runs
	accept     func(context.Context, []Envelope) error
}

func (p *inProcess) Subscribe(_ context.Context, subs []Subscription) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range subs {
		if p.find(s) == nil {
			p.subscribers[s.Type] = append(p.subscribers[s.Type], &hop{subscriber: s.Subscriber, receiving: make(chan struct{})})
		}
	}
	return nil
}

func (p *inProcess) find(s Subscription) *hop {
	for _, h := range p.subscribers[s.Type] {
		if h.subscriber == s.Subscriber {
			return h
		}
	}
	return nil
}

// Deliver gives each subscriber its events even when another one fails.
func (p *inProcess) Deliver(ctx context.Context, _ string, events []Envelope) error {
	p.mu.Lock()
	var order []*hop
	batches := map[*hop][]Envelope{}
	for _, e := range events {
		for _, h := range p.subscribers[e.Type] {
			if batches[h] == nil {
				order = append(order, h)
			}
			batches[h] = append(batches[h], e)
		}
	}
	p.mu.Unlock()
	var errs []error
	for _, h := range order {
		if err := h.deliver(ctx, batches[h]); err != nil {
			errs = append(errs, fmt.Errorf("deliver to %s: %w", h.subscriber, err))
		}
	}
	return errors.Join(errs...)
}

// deliver waits for the first Receive, which starts beside the relays.
func (h *hop) deliver(ctx context.Context, events []Envelope) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-h.receiving:
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.accept == nil {
		return errors.New("it receives nothing any more")
	}
	return h.accept(ctx, events)
}

func (p *inProcess) Receive(ctx context.Context, sub Subscription, accept func(context.Context, []Envelope) error) error {
	p.mu.Lock()
	h := p.find(sub)
	p.mu.Unlock()
	if h == nil {
		return fmt.Errorf("%s was not subscribed to %s", sub.Subscriber, sub.Type)
	}
	h.set(accept)
	defer h.set(nil)
	<-ctx.Done()
	return nil
}

func (h *hop) set(accept func(context.Context, []Envelope) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.accept = accept
	select {
	case <-h.receiving:
	default:
		close(h.receiving)
	}
}

func (p *inProcess) Ping(context.Context) error { return nil }

func (p *inProcess) Close() error { return nil }
