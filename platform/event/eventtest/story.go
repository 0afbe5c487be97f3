package eventtest

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cleave/platform/event"
)

// story is a publishing module that no other test knows.
type story struct {
	source string
	next   map[string]int // by type and key
}

func newStory() *story {
	return &story{source: "s" + strings.ReplaceAll(uuid.NewString(), "-", "")[:12], next: map[string]int{}}
}

func (s *story) typ(name string) string { return "cleave." + s.source + ".v1." + name }

func (s *story) sub(handler, typ string) event.Subscription {
	return event.Subscription{Subscriber: s.source + "." + handler, Type: s.typ(typ), Source: s.source}
}

// events are the next count events of a type, spread over keys. The payload
// says which of its key each is.
func (s *story) events(typ string, count, keys int) []event.Envelope {
	events := make([]event.Envelope, count)
	for i := range events {
		key := "key " + strconv.Itoa(i*i%keys)
		n := s.next[typ+key]
		s.next[typ+key]++
		events[i] = event.Envelope{
			Meta: event.Meta{
				ID: uuid.Must(uuid.NewV7()).String(), Type: s.typ(typ), Source: s.source, Key: key, Time: time.Now().UTC().Truncate(time.Microsecond),
			},
			Payload: []byte(strconv.Itoa(n)),
		}
	}
	return events
}

// parse is which of its key e is.
func parse(e event.Envelope) (int, error) {
	return strconv.Atoi(strings.TrimSpace(string(e.Payload)))
}

func subscribe(t testing.TB, p event.Pipe, subs ...event.Subscription) {
	t.Helper()
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		err := p.Subscribe(ctx, subs)
		if err != nil {
			t.Log("subscribe:", err)
		}
		return err == nil
	}, 30*time.Second, 50*time.Millisecond)
}

// patience is how long a story waits for its next step: longer than a broker on a busy machine needs to start.
const patience = 90 * time.Second

// relay delivers as an outbox does: batch by batch, each until it is taken.
func relay(t testing.TB, p event.Pipe, source string, events []event.Envelope) {
	const batch = 50
	taken := time.Now()
	for len(events) > 0 {
		n := min(batch, len(events))
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		err := p.Deliver(ctx, source, events[:n])
		cancel()
		switch {
		case err == nil:
			events, taken = events[n:], time.Now()
		case time.Since(taken) > patience:
			t.Errorf("events are not taken: %v", err)
			return
		default:
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// inbox stores what it accepts, each event once, as a module's inbox does.
type inbox struct {
	mu    sync.Mutex
	seen  map[string]bool
	rows  []event.Envelope
	fail  func() error
	moved chan struct{}
}

func newInbox() *inbox { return &inbox{seen: map[string]bool{}, moved: make(chan struct{}, 1)} }

func (b *inbox) set(fail func() error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fail = fail
}

// accept stores all events, or none when fail says so.
func (b *inbox) accept(_ context.Context, events []event.Envelope) error {
	b.mu.Lock()
	fail := b.fail
	b.mu.Unlock()
	if fail != nil {
		if err := fail(); err != nil {
			return err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range events {
		if !b.seen[e.ID] {
			b.seen[e.ID] = true
			b.rows = append(b.rows, e)
		}
	}
	select {
	case b.moved <- struct{}{}:
	default:
	}
	return nil
}

// receive feeds b from p until stop is called or the test ends.
func (b *inbox) receive(t testing.TB, p event.Pipe, sub event.Subscription) (stop func()) {
	t.Helper()
	return background(t, func(ctx context.Context) error { return p.Receive(ctx, sub, b.accept) })
}

// receive is a new inbox that sub feeds until the test ends.
func receive(t testing.TB, p event.Pipe, sub event.Subscription) *inbox {
	t.Helper()
	b := newInbox()
	b.receive(t, p, sub)
	return b
}

func (b *inbox) events() []event.Envelope {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.rows[:len(b.rows):len(b.rows)]
}

func (b *inbox) ids() []string {
	rows := b.events()
	ids := make([]string, len(rows))
	for i, e := range rows {
		ids[i] = e.ID
	}
	return ids
}

// wait returns when b holds n events.
func (b *inbox) wait(t testing.TB, n int) {
	t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for len(b.events()) < n {
		select {
		case <-b.moved:
			timeout.Reset(patience)
		case <-timeout.C:
			require.FailNow(t, "events are missing", "%d of %d arrived", len(b.events()), n)
		}
	}
}

// has requires that b gets exactly these events, in order per key.
func (b *inbox) has(t testing.TB, want []event.Envelope) {
	t.Helper()
	b.wait(t, len(want))
	require.Equal(t, byKey(want), byKey(b.events()))
}

func byKey(events []event.Envelope) map[string][]string {
	keys := map[string][]string{}
	for _, e := range events {
		keys[e.Key] = append(keys[e.Key], fmt.Sprintf("%s %s", e.Payload, e.ID))
	}
	return keys
}
