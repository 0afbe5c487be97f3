// Package eventtest holds every event.Pipe to the same promises, and starts
// the brokers that tests need. Nothing but tests imports it.
package eventtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"cleave/platform/event"
)

// Broker is what Exercise needs to know of the pipe under test.
type Broker struct {
	// Open returns a new client; Exercise closes it.
	Open func(t testing.TB) event.Pipe
	// Apart says that a broker stands between clients, as if each were a process.
	Apart bool
	// History says that a new subscription can begin with events of the past.
	History bool
	// Restart ends the broker without warning and starts it again; nil: there is none.
	Restart func(t testing.TB)
	// Inside says that the broker runs in the test's process, whose goroutines
	// and memory then say nothing about the client.
	Inside bool
	// MaxBytes is the largest payload that passes; 0: no limit.
	MaxBytes int
}

// Exercise runs the suite on b.
func Exercise(t *testing.T, b Broker) {
	t.Run("EverySubscriber", b.everySubscriber)
	t.Run("OrderPerKey", b.orderPerKey)
	t.Run("Repeats", b.repeats)
	t.Run("Attributes", b.attributes)
	t.Run("AcknowledgedAfterAccept", b.acknowledgedAfterAccept)
	t.Run("SlowAccept", b.slowAccept)
	t.Run("Close", b.closeWhileReceiving)
	t.Run("Backlog", b.backlog)
	if b.MaxBytes > 0 {
		t.Run("Oversize", b.oversize)
	}
	if b.Apart {
		t.Run("Identity", b.identity)
		t.Run("NobodyReceives", b.nobodyReceives)
		t.Run("NewSubscriber", b.newSubscriber)
		t.Run("TwoReplicas", b.twoReplicas)
	}
	if b.Restart != nil {
		t.Run("BrokerRestarts", b.brokerRestarts)
		t.Run("BrokerAway", b.brokerAway)
	}
}

func (b Broker) open(t testing.TB) event.Pipe {
	t.Helper()
	p := b.Open(t)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	return p
}

// A subscriber that asks for one type gets all of it, and nothing else.
func (b Broker) everySubscriber(t *testing.T) {
	p, s := b.open(t), newStory()
	mail, audit, other := s.sub("mail", "Said"), s.sub("audit", "Said"), s.sub("mail_other", "Other")
	subscribe(t, p, mail, audit, other)
	mailbox, auditbox, otherbox := receive(t, p, mail), receive(t, p, audit), receive(t, p, other)
	said := s.events("Said", 20, 4)
	require.NoError(t, p.Deliver(t.Context(), s.source, said))
	require.NoError(t, p.Deliver(t.Context(), s.source, s.events("Unheard", 3, 1)), "nobody subscribes to it")
	rest := s.events("Other", 3, 1)
	require.NoError(t, p.Deliver(t.Context(), s.source, rest))
	mailbox.has(t, said)
	auditbox.has(t, said)
	otherbox.has(t, rest)
}

// Whatever fails in between, each key's events arrive in the order of delivery.
func (b Broker) orderPerKey(t *testing.T) {
	p, s := b.open(t), newStory()
	mail := s.sub("mail", "Said")
	subscribe(t, p, mail)
	box := newInbox()
	box.fail = func() error {
		if rand.N(4) == 0 {
			return errors.New("now and then")
		}
		return nil
	}
	box.receive(t, p, mail)
	events := s.events("Said", 600, 7)
	relay(t, p, s.source, events)
	box.has(t, events)
}

func (b Broker) repeats(t *testing.T) {
	p, s := b.open(t), newStory()
	mail := s.sub("mail", "Said")
	subscribe(t, p, mail)
	box := receive(t, p, mail)
	events := s.events("Said", 30, 3)
	for _, batch := range [][]event.Envelope{events[:10], events[:20], events[5:20], events} {
		require.NoError(t, p.Deliver(t.Context(), s.source, batch))
	}
	box.has(t, events)
	subscribe(t, p, mail)
	last := s.events("Said", 1, 1)
	require.NoError(t, p.Deliver(t.Context(), s.source, last))
	box.has(t, append(events, last...))
}

// Each field of an envelope arrives as it was.
func (b Broker) attributes(t *testing.T) {
	p, s := b.open(t), newStory()
	mail := s.sub("mail", "Said")
	subscribe(t, p, mail)
	box := receive(t, p, mail)
	full := event.Envelope{Meta: event.Meta{
		ID: uuid.NewString(), Type: mail.Type, Source: s.source, Key: "Größe 7 % + \"x\"\n\té",
		Time:        time.Date(2026, 11, 23, 9, 8, 7, 654321000, time.UTC),
		Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Causation: "01932f7e-request",
	}, Payload: []byte{0, 0xff, '\n', 0x80}}
	bare := event.Envelope{Meta: event.Meta{ID: uuid.NewString(), Type: mail.Type, Source: s.source, Time: time.Unix(0, 0).UTC()}}
	require.NoError(t, p.Deliver(t.Context(), s.source, []event.Envelope{full, bare}))
	box.wait(t, 2)
	got := map[string]event.Envelope{}
	for _, e := range box.events() {
		got[e.ID] = e
	}
	require.Equal(t, full, got[full.ID])
	require.Equal(t, bare.Meta, got[bare.ID].Meta)
	require.Empty(t, got[bare.ID].Payload)
}

// What accept refused comes again, to this receiver and to the next.
func (b Broker) acknowledgedAfterAccept(t *testing.T) {
	p, s := b.open(t), newStory()
	mail := s.sub("mail", "Said")
	subscribe(t, p, mail)
	box := newInbox()
	var refused atomic.Int64
	box.fail = func() error { refused.Add(1); return errors.New("the database is away") }
	stop := box.receive(t, p, mail)
	events := s.events("Said", 50, 5)
	delivered := make(chan struct{})
	go func() {
		defer close(delivered)
		relay(t, p, s.source, events)
	}()
	require.Eventually(t, func() bool { return refused.Load() > 0 }, 20*time.Second, time.Millisecond)
	stop()
	require.Empty(t, box.events())
	box.set(nil)
	box.receive(t, p, mail)
	box.has(t, events)
	<-delivered
}

// An accept that takes longer than the broker would wait for a dead one loses
// nothing and puts nothing out of order.
func (b Broker) slowAccept(t *testing.T) {
	p, s := b.open(t), newStory()
	mail := s.sub("mail", "Said")
	subscribe(t, p, mail)
	box := newInbox()
	var once atomic.Bool
	box.fail = func() error {
		if once.CompareAndSwap(false, true) {
			time.Sleep(2500 * time.Millisecond)
			return errors.New("slow and in vain")
		}
		return nil
	}
	box.receive(t, p, mail)
	events := s.events("Said", 40, 4)
	relay(t, p, s.source, events)
	box.has(t, events)
}

// Receive ends with its context, also inside accept, and Close leaves nothing.
func (b Broker) closeWhileReceiving(t *testing.T) {
	before := goleak.IgnoreCurrent()
	p, s := b.Open(t), newStory()
	idle, busy := s.sub("idle", "Other"), s.sub("busy", "Said")
	require.NoError(t, p.Subscribe(t.Context(), []event.Subscription{idle, busy}))
	ctx, cancel := context.WithCancel(t.Context())
	inside, ended := make(chan struct{}, 100), make(chan error, 2)
	go func() {
		ended <- p.Receive(ctx, idle, func(context.Context, []event.Envelope) error { return nil })
	}()
	go func() {
		ended <- p.Receive(ctx, busy, func(ctx context.Context, _ []event.Envelope) error {
			inside <- struct{}{}
			<-ctx.Done()
			return ctx.Err()
		})
	}()
	delivered := make(chan struct{})
	go func() {
		defer close(delivered)
		_ = p.Deliver(ctx, s.source, s.events("Said", 3, 1)) // the context ends it, where it waits for accept
	}()
	<-inside
	cancel()
	require.NoError(t, <-ended)
	require.NoError(t, <-ended)
	<-delivered
	require.NoError(t, p.Close())
	if !b.Inside {
		goleak.VerifyNone(t, before)
	}
}

// A backlog passes through without being held in memory.
func (b Broker) backlog(t *testing.T) {
	const count, size, limit = 10_000, 2048, 12 << 20
	p, s := b.open(t), newStory()
	mail := s.sub("mail", "Said")
	subscribe(t, p, mail)
	var (
		received atomic.Int64
		next     = map[string]int{}
		wrong    atomic.Value
	)
	background(t, func(ctx context.Context) error {
		return p.Receive(ctx, mail, func(_ context.Context, events []event.Envelope) error {
			for _, e := range events {
				if n, _ := parse(e); n == next[e.Key] {
					next[e.Key]++
					received.Add(1)
				} else if n > next[e.Key] {
					wrong.Store(fmt.Sprintf("key %s: %d instead of %d", e.Key, n, next[e.Key]))
				}
			}
			return nil
		})
	})
	heap := alive()
	var peak uint64
	for done := 0; done < count; done += 500 {
		batch := s.events("Said", 500, 50)
		for i := range batch {
			batch[i].Payload = append(batch[i].Payload, strings.Repeat(" ", size)...)
		}
		relay(t, p, s.source, batch)
		peak = max(peak, alive())
	}
	require.Eventually(t, func() bool { return received.Load() == count }, 60*time.Second, 10*time.Millisecond, "%v", wrong.Load())
	require.Nil(t, wrong.Load())
	if b.Inside {
		return
	}
	require.Less(t, int64(peak)-int64(heap), int64(limit), "heap in bytes: %d at first, %d at most, while %d passed through", heap, peak, count*size)
}

func alive() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// An event that is too large is named, and the others pass.
func (b Broker) oversize(t *testing.T) {
	p, s := b.open(t), newStory()
	mail := s.sub("mail", "Said")
	subscribe(t, p, mail)
	box := receive(t, p, mail)
	events := s.events("Said", 5, 2)
	events[1].Payload = make([]byte, 2*b.MaxBytes)
	err := p.Deliver(t.Context(), s.source, events)
	var rejected *event.Rejected
	require.ErrorAs(t, err, &rejected)
	require.Equal(t, []string{events[1].ID}, rejected.IDs)
	require.ErrorContains(t, rejected, fmt.Sprint(2*b.MaxBytes), "the reason says how large it is")
	box.wait(t, 4)
	require.NotContains(t, box.ids(), events[1].ID)
	largest := s.events("Said", 1, 1)
	largest[0].Payload = make([]byte, b.MaxBytes*3/4)
	require.NoError(t, p.Deliver(t.Context(), s.source, largest))
	box.wait(t, 5)
}
