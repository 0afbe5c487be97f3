package event_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"cleave/platform/db"
	"cleave/platform/db/dbtest"
	"cleave/platform/event"
	"cleave/platform/fault"
	"cleave/platform/telemetry"
)

// with replaces the bus by one with other options.
func (w *world) with(change func(*event.Options)) {
	o := options()
	change(&o)
	w.bus = event.NewBus(o)
	w.publisher = w.bus.Publisher("order", w.from, []event.Type{said})
}

func (w *world) heard(t *testing.T) (texts []string) {
	t.Helper()
	for _, e := range w.effects(t) {
		texts = append(texts, e.Said)
	}
	return texts
}

// A handler that ignores its context is given up, wherever it hangs: its
// transaction is rolled back and the database is free for the others.
func TestDelivery_HandlerThatNeverReturns(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		w := setup(t, c)
		free, late := make(chan struct{}), make(chan error, 1)
		insert := func(ctx context.Context, text string) error {
			return w.to.Conn(ctx).Exec("INSERT INTO effects (subscriber, event, key, said) VALUES ('mail', '', '', ?)", text).Error
		}
		w.subscribe(t, w.record("other", nil), event.On(said, "mail", func(ctx context.Context, _ event.Meta, e *wrapperspb.StringValue) error {
			if err := insert(ctx, e.GetValue()); err != nil || e.GetValue() != "stuck" {
				return err
			}
			<-free
			w.to.AfterCommit(ctx, func() { late <- errors.New("a hook ran") })
			late <- errors.Join(insert(ctx, "late"), w.to.Tx(ctx, func(ctx context.Context) error { return insert(ctx, "later") }))
			return nil
		}, event.Timeout(100*time.Millisecond)))
		for _, text := range []string{"before", "stuck", "after"} {
			w.say(t, "k", text)
		}
		run(t, w.bus)
		letter := w.dead(t, 1, event.DeadFilter{})[0]
		require.Equal(t, 1, letter.Attempts, "it is not tried again, since each attempt would stay behind")
		require.Contains(t, letter.Cause, "timeout/event_handler_stuck: the handler did not return")
		require.Len(t, w.eventually(t, 5), 5)
		close(free)
		require.ErrorContains(t, <-late, "has ended")
		require.Empty(t, late)
		require.NotContains(t, w.heard(t)[:], "late")
		require.Equal(t, 1, strings.Count(fmt.Sprint(w.heard(t)), "stuck"), "only of the other subscriber")
	})
}

func TestDelivery_StopsBeforeStuckHandlersPileUp(t *testing.T) {
	t.Parallel()
	w := setup(t, dbtest.SQLite(t))
	free := make(chan struct{})
	var mu sync.Mutex
	running := 0
	w.subscribe(t, w.record("other", nil), event.On(said, "mail", func(context.Context, event.Meta, *wrapperspb.StringValue) error {
		mu.Lock()
		running++
		mu.Unlock()
		<-free
		return nil
	}, event.Timeout(5*time.Millisecond)))
	const events = 20
	for i := range events {
		w.say(t, fmt.Sprint(i), "x")
	}
	run(t, w.bus)
	require.Len(t, w.eventually(t, events), events)
	w.dead(t, 8, event.DeadFilter{})
	require.Never(t, func() bool { mu.Lock(); defer mu.Unlock(); return running > 8 }, 100*time.Millisecond, 10*time.Millisecond)
	close(free)
	require.Eventually(t, func() bool { return count(t, w.to, "SELECT count(*) FROM inbox WHERE state = 'pending'") == 0 }, 20*time.Second, 5*time.Millisecond)
}

func TestDelivery_HandlerEndsItsGoroutine(t *testing.T) {
	t.Parallel()
	w := setup(t, dbtest.SQLite(t))
	w.subscribe(t, w.record("mail", func(text string) error {
		if text == "exit" {
			runtime.Goexit()
		}
		return nil
	}))
	run(t, w.bus)
	w.say(t, "k", "exit")
	w.say(t, "k", "next")
	require.Contains(t, w.dead(t, 1, event.DeadFilter{})[0].Cause, "ended its goroutine")
	w.eventually(t, 1)
	require.Equal(t, []string{"next"}, w.heard(t))
}

func TestDelivery_PayloadThatDoesNotDecode(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		w, pipe := setup(t, c), event.NewInProcess()
		w.with(func(o *event.Options) { o.Pipe = pipe })
		w.subscribe(t, w.record("mail", nil))
		run(t, w.bus)
		<-w.bus.Subscribed()
		envelope := func(payload string) event.Envelope {
			return event.Envelope{Meta: event.Meta{ID: uuid.NewString(), Type: said.Name(), Source: "order", Key: "k", Time: time.Now()}, Payload: []byte(payload)}
		}
		require.NoError(t, pipe.Deliver(t.Context(), "order", []event.Envelope{envelope("\x0a\x7fshort"), envelope("\x0a\x04good")}))
		w.eventually(t, 1)
		require.Equal(t, []string{"good"}, w.heard(t))
		letter := w.dead(t, 1, event.DeadFilter{})[0]
		require.Equal(t, 1, letter.Attempts)
		require.Contains(t, letter.Cause, "invalid/event_undecodable: the payload is not a google.protobuf.StringValue")
	})
}

// The policy of one handler says nothing about another one.
func TestDelivery_PolicyOfAHandler(t *testing.T) {
	t.Parallel()
	w := setup(t, dbtest.SQLite(t))
	fail := func(context.Context, event.Meta, *wrapperspb.StringValue) error { return errors.New("broken") }
	var slow error
	w.subscribe(t,
		event.On(said, "two", fail, event.Attempts(2), event.Backoff(time.Millisecond, 2*time.Millisecond), event.Batch(1)),
		event.On(said, "four", fail),
		event.On(said, "timed", func(ctx context.Context, _ event.Meta, _ *wrapperspb.StringValue) error {
			<-ctx.Done()
			slow = ctx.Err()
			return slow
		}, event.Timeout(50*time.Millisecond), event.Attempts(1)))
	run(t, w.bus)
	w.say(t, "k", "x")
	attempts := map[string]int{}
	for _, l := range w.dead(t, 3, event.DeadFilter{}) {
		attempts[l.Subscriber] = l.Attempts
	}
	require.Equal(t, map[string]int{"notification.two": 2, "notification.four": 4, "notification.timed": 1}, attempts)
	require.ErrorIs(t, slow, context.DeadlineExceeded)
}

func TestPublish_Causation(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		w := setup(t, c)
		heard := make(chan event.Meta, 2)
		w.subscribe(t, event.On(said, "mail", func(_ context.Context, m event.Meta, _ *wrapperspb.StringValue) error {
			heard <- m
			return nil
		}))
		echo := event.On(said, "echo", func(ctx context.Context, _ event.Meta, e *wrapperspb.StringValue) error {
			if e.GetValue() == "echo" {
				return nil
			}
			return w.publisher.Publish(ctx, "k", wrapperspb.String("echo"))
		})
		require.NoError(t, w.bus.Subscribe("order", w.from, []event.Type{said}, []event.Handler{echo})) // its own events
		run(t, w.bus)
		ctx := telemetry.WithRequestID(t.Context(), "request-1")
		require.NoError(t, w.from.Tx(ctx, func(ctx context.Context) error { return w.publisher.Publish(ctx, "k", wrapperspb.String("voice")) }))
		first, second := <-heard, <-heard
		require.Equal(t, "request-1", first.Causation)
		require.Equal(t, first.ID, second.Causation)
	})
}

// stray is a pipe over which arrive events that the subscription is not of.
type stray struct {
	event.Pipe
	events []event.Envelope
}

func (s stray) Receive(ctx context.Context, sub event.Subscription, accept func(context.Context, []event.Envelope) error) error {
	if err := accept(ctx, s.events); err != nil {
		return err
	}
	return s.Pipe.Receive(ctx, sub, accept)
}

func TestDelivery_IgnoresWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		w := setup(t, c)
		var log bytes.Buffer
		reader := metric.NewManualReader()
		w.with(func(o *event.Options) {
			o.Meter = metric.NewMeterProvider(metric.WithReader(reader)).Meter("test")
			o.Log = slog.New(slog.NewTextHandler(&log, nil))
			envelope := func(id, kind, key string) event.Envelope {
				return event.Envelope{Meta: event.Meta{ID: id, Type: kind, Source: "order", Key: key, Time: time.Now()}, Payload: []byte("\x0a\x01x")}
			}
			o.Pipe = stray{Pipe: event.NewInProcess(), events: []event.Envelope{
				envelope("1", "order.v9.Teleported", "k"), envelope("2", "order.v9.Teleported", "k"), envelope("3", said.Name(), "k\x00"),
				envelope("", said.Name(), "k"), envelope("5", said.Name(), "k"),
			}}
		})
		w.subscribe(t, w.record("mail", func(text string) error {
			if text == "bad" {
				return fault.New(fault.Unprocessable, "", "no")
			}
			return nil
		}))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.bus.Run(ctx) }()
		w.say(t, "k", "bad")
		w.say(t, "k", "good")
		w.eventually(t, 2)
		w.dead(t, 1, event.DeadFilter{})
		kept(t, w, 0)
		cancel()
		require.NoError(t, <-done)
		require.Equal(t, []string{"x", "good"}, w.heard(t))
		require.Equal(t, 1, strings.Count(log.String(), "reason=unknown_type"))
		require.Equal(t, 1, strings.Count(log.String(), "reason=malformed"))

		var measured metricdata.ResourceMetrics
		require.NoError(t, reader.Collect(t.Context(), &measured))
		sums, counts := map[string]int64{}, map[string]uint64{}
		for _, m := range measured.ScopeMetrics[0].Metrics {
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					sums[m.Name] += p.Value
				}
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					counts[m.Name] += p.Count
				}
			}
		}
		require.Equal(t, map[string]int64{
			"cleave.event.relayed": 2, "cleave.event.undeliverable": 0, "cleave.event.handled": 2, "cleave.event.dead": 1, "cleave.event.ignored": 4,
		}, sums)
		require.Equal(t, uint64(2), counts["cleave.event.latency"])
		require.GreaterOrEqual(t, counts["cleave.event.attempt.duration"], uint64(3))
	})
}

// picky is a pipe that never takes some events.
type picky struct{ event.Pipe }

func (p picky) Deliver(ctx context.Context, source string, events []event.Envelope) error {
	var rejected *event.Rejected
	var taken []event.Envelope
	for _, e := range events {
		if e.Key != "huge" {
			taken = append(taken, e)
			continue
		}
		if rejected == nil {
			rejected = &event.Rejected{Err: errors.New("larger than 1 MB")}
		}
		rejected.IDs = append(rejected.IDs, e.ID)
	}
	if err := p.Pipe.Deliver(ctx, source, taken); err != nil || rejected == nil {
		return err
	}
	return rejected
}

func TestDelivery_EventThatThePipeNeverTakes(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		w := setup(t, c)
		w.with(func(o *event.Options) { o.Pipe = picky{event.NewInProcess()} })
		w.subscribe(t, w.record("mail", nil))
		for _, key := range []string{"a", "huge", "b"} {
			w.say(t, key, key)
		}
		run(t, w.bus)
		w.eventually(t, 2)
		require.Equal(t, []string{"a", "b"}, w.heard(t))
		require.Eventually(t, func() bool { return count(t, w.from, "SELECT count(*) FROM outbox") == 0 }, 5*time.Second, 5*time.Millisecond)
		letters, err := event.ListDead(t.Context(), w.from, event.DeadFilter{})
		require.NoError(t, err)
		require.Len(t, letters, 1)
		require.Equal(t, []any{event.Outbox, "huge", 1}, []any{letters[0].Subscriber, letters[0].Key, letters[0].Attempts})
		require.Contains(t, letters[0].Cause, "larger than 1 MB")
	})
}
