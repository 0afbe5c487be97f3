package eventtest

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cleave/platform/event"
)

// A subscription is durable before anybody receives.
func (b Broker) nobodyReceives(t *testing.T) {
	p, s := b.open(t), newStory()
	mail := s.sub("mail", "Said")
	subscribe(t, b.open(t), mail)
	events := s.events("Said", 30, 3)
	relay(t, p, s.source, events)
	late := b.open(t)
	subscribe(t, late, mail)
	receive(t, late, mail).has(t, events)
}

// A new subscriber begins with its first start, or with the past if it asks.
func (b Broker) newSubscriber(t *testing.T) {
	p, s := b.open(t), newStory()
	first := s.sub("first", "Said")
	subscribe(t, p, first)
	past := s.events("Said", 20, 4)
	relay(t, p, s.source, past)

	second, third := s.sub("second", "Said"), s.sub("third", "Said")
	third.History = true
	if !b.History {
		require.ErrorContains(t, p.Subscribe(t.Context(), []event.Subscription{third}), "history")
		third.History = false
	}
	subscribe(t, p, second, third)
	future := s.events("Said", 20, 4)
	relay(t, p, s.source, future)
	receive(t, p, first).has(t, append(past, future...))
	receive(t, p, second).has(t, future)
	if b.History {
		receive(t, p, third).has(t, append(past, future...))
	}
}

// Replicas of a subscriber share its events and keep the order, while accept
// fails and while one of them stops in the middle of its work.
func (b Broker) twoReplicas(t *testing.T) {
	s := newStory()
	mail := s.sub("mail", "Said")
	box := newInbox()
	box.fail = func() error {
		time.Sleep(rand.N(8 * time.Millisecond)) // spreads the work over the replicas
		if rand.N(10) == 0 {
			return errors.New("now and then")
		}
		return nil
	}
	replicas := []event.Pipe{b.open(t), b.open(t)}
	var stop func()
	for _, p := range replicas {
		subscribe(t, p, mail)
		stop = box.receive(t, p, mail)
	}
	events := s.events("Said", 1500, 9)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		relay(t, replicas[0], s.source, events)
	}()
	box.wait(t, len(events)/3)
	stop()
	box.wait(t, len(events)/2)
	again := b.open(t)
	subscribe(t, again, mail)
	box.receive(t, again, mail)
	box.has(t, events)
	<-sent
}

// A broker that dies in the middle, with batches under way in both directions,
// costs time and nothing else.
func (b Broker) brokerRestarts(t *testing.T) {
	p, s := b.open(t), newStory()
	mail := s.sub("mail", "Said")
	subscribe(t, p, mail)
	box := receive(t, b.open(t), mail)
	events := s.events("Said", 2000, 6)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		relay(t, p, s.source, events)
	}()
	for _, share := range []int{6, 3, 2} {
		box.wait(t, len(events)/share)
		b.Restart(t)
	}
	<-sent
	box.has(t, events)
}

// While the broker is away Ping says so and Deliver fails; later all is well.
func (b Broker) brokerAway(t *testing.T) {
	p, s := b.open(t), newStory()
	mail := s.sub("mail", "Said")
	subscribe(t, p, mail)
	require.NoError(t, p.Ping(t.Context()))
	box := receive(t, p, mail)
	events := s.events("Said", 10, 2)
	require.NoError(t, p.Deliver(t.Context(), s.source, events[:5]))
	b.Restart(t)
	relay(t, p, s.source, events[5:])
	box.has(t, events)
	require.Eventually(t, func() bool { return p.Ping(t.Context()) == nil }, 20*time.Second, 10*time.Millisecond)
}

// background runs fn until the test ends.
func background(t testing.TB, fn func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- fn(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		require.NoError(t, <-ended)
	}
	t.Cleanup(stop)
	return stop
}

// All that share a broker's events know it by the same name.
func (b Broker) identity(t *testing.T) {
	var names []string
	for range 2 {
		p, ok := b.open(t).(interface {
			Identity(ctx context.Context) (string, error)
		})
		require.True(t, ok)
		name, err := p.Identity(t.Context())
		require.NoError(t, err)
		require.NotEmpty(t, name)
		names = append(names, name)
	}
	require.Equal(t, names[0], names[1])
}
