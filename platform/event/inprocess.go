package event

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
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
	kind       string        // of its events
	receiving  chan struct{} // closed when accept is set for the first time
	busy       chan struct{} // holds one while accept runs
	mu         sync.RWMutex  // held for reading while accept runs
	accept     func(context.Context, []Envelope) error
}

func (p *inProcess) Subscribe(_ context.Context, subs []Subscription) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range subs {
		if p.find(s) == nil {
			p.subscribers[s.Type] = append(p.subscribers[s.Type], &hop{subscriber: s.Subscriber, kind: s.Type, receiving: make(chan struct{}), busy: make(chan struct{}, 1)})
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
	order, batches := p.sort(events)
	var errs []error
	for _, h := range order {
		if err := h.deliver(ctx, batches[h]); err != nil {
			errs = append(errs, fmt.Errorf("deliver to %s: %w", h.subscriber, err))
		}
	}
	return errors.Join(errs...)
}

// sort gives each event to the subscribers of its type.
func (p *inProcess) sort(events []Envelope) (order []*hop, batches map[*hop][]Envelope) {
	p.mu.Lock()
	defer p.mu.Unlock()
	batches = map[*hop][]Envelope{}
	for _, e := range events {
		for _, h := range p.subscribers[e.Type] {
			if batches[h] == nil {
				order = append(order, h)
			}
			batches[h] = append(batches[h], e)
		}
	}
	return order, batches
}

// reach gives each subscriber its events, but for those without, and waits for
// none longer than patience. It returns who does not have them for certain, and
// why. An error says the same of all: the process stops.
func (p *inProcess) reach(ctx context.Context, events []Envelope, without map[string]bool, patience time.Duration) (behind map[string]error, err error) {
	order, batches := p.sort(events)
	for _, h := range order {
		err := errNoAnswer
		if !without[h.subscriber] {
			err = h.within(ctx, patience, batches[h])
		}
		if err != nil && (ctx.Err() != nil || errors.Is(err, errStopped)) {
			return nil, fmt.Errorf("deliver to %s: %w", h.subscriber, err)
		}
		if err != nil {
			if behind == nil {
				behind = map[string]error{}
			}
			behind[h.subscriber] = err
		}
	}
	return behind, nil
}

// within is deliver with a time limit that holds whatever the inbox does.
func (h *hop) within(ctx context.Context, patience time.Duration, events []Envelope) error {
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	answer := make(chan error, 1)
	go func() { answer <- h.deliver(limited, events) }()
	select {
	case <-limited.Done():
		return errNoAnswer
	case err := <-answer:
		return err
	}
}

var (
	errStopped  = errors.New("it receives nothing any more")
	errNoAnswer = errors.New("its inbox does not answer")
)

// deliver waits for the first Receive, which starts beside the relays, and for
// the end of a delivery that was given up.
func (h *hop) deliver(ctx context.Context, events []Envelope) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-h.receiving:
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case h.busy <- struct{}{}:
		defer func() { <-h.busy }()
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.accept == nil {
		return errStopped
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
