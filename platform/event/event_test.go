package event_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"cleave/platform/db"
	"cleave/platform/db/dbtest"
	"cleave/platform/event"
	"cleave/platform/fault"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

var (
	said   = event.Define[*wrapperspb.StringValue]()
	silent = event.Define[*emptypb.Empty]()
)

// effects is a table in which handlers leave their mark, in order.
func effects() fs.FS {
	const table = "-- +goose Up\nCREATE TABLE effects (n %s, subscriber text NOT NULL, event text NOT NULL, key text NOT NULL, said text NOT NULL);\n"
	return fstest.MapFS{
		"sqlite/00001_effects.sql":   {Data: fmt.Appendf(nil, table, "INTEGER PRIMARY KEY AUTOINCREMENT")},
		"postgres/00001_effects.sql": {Data: fmt.Appendf(nil, table, "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY")},
	}
}

// world is a publishing and a subscribing module in one process.
type world struct {
	from, to  *db.DB
	publisher *event.Publisher
	bus       *event.Bus
}

type effect struct{ Subscriber, Event, Key, Said string }

func options() event.Options {
	return event.Options{
		Poll: 20 * time.Millisecond, BackoffMin: time.Millisecond, BackoffMax: 5 * time.Millisecond, MaxAttempts: 4, Timeout: 5 * time.Second,
		Log: slog.New(slog.DiscardHandler), Now: time.Now, NewID: func() string { return uuid.Must(uuid.NewV7()).String() },
	}
}

// setup opens two modules; subscribe and run are left to the test.
func setup(t *testing.T, c db.Config) *world {
	t.Helper()
	w := &world{from: dbtest.Open(t, c, "order", effects(), nil), to: dbtest.Open(t, c, "notification", effects(), nil)}
	w.bus = event.NewBus(options())
	w.publisher = w.bus.Publisher("order", w.from, []event.Type{said})
	return w
}

// record is a handler that writes an effect and then returns what after says.
func (w *world) record(name string, after func(text string) error, options ...event.Option) event.Handler {
	return event.On(said, name, func(ctx context.Context, m event.Meta, e *wrapperspb.StringValue) error {
		err := w.to.Queue(ctx).Exec("INSERT INTO effects (subscriber, event, key, said) VALUES (?, ?, ?, ?)", name, m.ID, m.Key, e.GetValue()).Error
		if err != nil || after == nil {
			return err
		}
		return after(e.GetValue())
	}, options...)
}

func (w *world) subscribe(t *testing.T, handlers ...event.Handler) {
	t.Helper()
	require.NoError(t, w.bus.Subscribe("notification", w.to, []event.Type{said}, handlers))
}

// run delivers until the test ends.
func run(t *testing.T, b *event.Bus) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
}

func (w *world) say(t *testing.T, key, text string) {
	t.Helper()
	require.NoError(t, w.from.Tx(t.Context(), func(ctx context.Context) error {
		return w.publisher.Publish(ctx, key, wrapperspb.String(text))
	}))
}

func (w *world) effects(t *testing.T) []effect {
	t.Helper()
	var rows []effect
	require.NoError(t, w.to.Conn(t.Context()).Raw("SELECT subscriber, event, key, said FROM effects ORDER BY n").Scan(&rows).Error)
	return rows
}

func (w *world) eventually(t *testing.T, n int) []effect {
	t.Helper()
	require.Eventually(t, func() bool { return len(w.effects(t)) >= n }, 20*time.Second, 5*time.Millisecond)
	return w.effects(t)
}

func count(t *testing.T, d *db.DB, query string, args ...any) (n int) {
	t.Helper()
	require.NoError(t, d.Conn(t.Context()).Raw(query, args...).Scan(&n).Error)
	return n
}

func TestPublish_ReachesEverySubscriberOnce(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		w := setup(t, c)
		w.subscribe(t, w.record("mail", nil), w.record("inbox", nil))
		run(t, w.bus)
		w.say(t, "o1", "hello")
		rows := w.eventually(t, 2)
		require.Len(t, rows, 2)
		require.Equal(t, rows[0].Event, rows[1].Event)
		require.Equal(t, "o1", rows[0].Key)
		require.Eventually(t, func() bool { return count(t, w.from, "SELECT count(*) FROM outbox") == 0 }, 5*time.Second, 5*time.Millisecond)
		require.Equal(t, 2, count(t, w.to, "SELECT count(*) FROM inbox WHERE state = 'done' AND done_at > 0"))
	})
}

func TestPublish_RollsBackWithItsTransaction(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		w := setup(t, c)
		oops := errors.New("oops")
		require.ErrorIs(t, w.from.Tx(t.Context(), func(ctx context.Context) error {
			if err := w.publisher.Publish(ctx, "o1", wrapperspb.String("never")); err != nil {
				return err
			}
			return oops
		}), oops)
		require.Zero(t, count(t, w.from, "SELECT count(*) FROM outbox"))
	})
}

func TestPublish_Refusals(t *testing.T) {
	t.Parallel()
	w := setup(t, dbtest.SQLite(t))
	err := w.publisher.Publish(t.Context(), "o1", wrapperspb.String("x"))
	require.ErrorContains(t, err, "transaction")
	err = w.from.Tx(t.Context(), func(ctx context.Context) error { return w.publisher.Publish(ctx, "o1", &emptypb.Empty{}) })
	require.ErrorContains(t, err, "does not declare")
	require.Zero(t, count(t, w.from, "SELECT count(*) FROM outbox"))

	handler := event.On(silent, "mute", func(context.Context, event.Meta, *emptypb.Empty) error { return nil })
	require.ErrorContains(t, w.bus.Subscribe("notification", w.to, []event.Type{said}, []event.Handler{handler}), "Subscribes")
	require.ErrorContains(t, w.bus.Subscribe("notification", w.to, []event.Type{silent}, []event.Handler{handler, handler}), "two event handlers")
}

func TestDelivery_KeepsOrderPerKey(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		const keys, each = 4, 30
		w := setup(t, c)
		var n atomic.Int64
		w.subscribe(t, w.record("mail", func(string) error {
			if n.Add(1)%7 == 0 {
				return errors.New("now and then")
			}
			return nil
		}))
		run(t, w.bus)
		var wg sync.WaitGroup
		for k := range keys {
			wg.Go(func() {
				for i := range each {
					w.say(t, fmt.Sprint("k", k), fmt.Sprint(i))
				}
			})
		}
		wg.Wait()
		inOrder(t, w.eventually(t, keys*each))
		require.Len(t, w.effects(t), keys*each)
	})
}

func TestDelivery_FailingKeyHoldsBackOnlyItself(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		w := setup(t, c)
		var mended atomic.Bool
		o := options()
		o.MaxAttempts = 1 << 20
		w.bus = event.NewBus(o)
		w.publisher = w.bus.Publisher("order", w.from, []event.Type{said})
		w.subscribe(t, w.record("mail", func(text string) error {
			if text == "bad 1" && !mended.Load() {
				return fault.New(fault.Unavailable, "", "not yet")
			}
			return nil
		}))
		w.say(t, "bad", "bad 1")
		w.say(t, "bad", "bad 2")
		w.say(t, "good", "good 1")
		run(t, w.bus)
		w.say(t, "good", "good 2")
		rows := w.eventually(t, 2)
		require.Equal(t, []string{"good 1", "good 2"}, []string{rows[0].Said, rows[1].Said})
		mended.Store(true)
		rows = w.eventually(t, 4)
		require.Equal(t, []string{"bad 1", "bad 2"}, []string{rows[2].Said, rows[3].Said})
	})
}

func TestDelivery_DeadLetters(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fail     func(string) error
		attempts int
		cause    string
	}{
		"Retries":   {func(string) error { return errors.New("broken") }, 4, "broken"},
		"Permanent": {func(string) error { return fault.New(fault.Unprocessable, "nonsense", "makes no sense") }, 1, "unprocessable/nonsense"},
		"Panic":     {func(string) error { panic("boom") }, 4, "panic: boom"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dbtest.Each(t, func(t *testing.T, cfg db.Config) {
				w := setup(t, cfg)
				w.subscribe(t, w.record("mail", func(text string) error {
					if text == "bad" {
						return c.fail(text)
					}
					return nil
				}))
				run(t, w.bus)
				w.say(t, "k", "bad")
				w.say(t, "k", "good")
				rows := w.eventually(t, 1)
				require.Equal(t, "good", rows[0].Said, "the successor goes on, and the dead letter had no effect")
				var dead struct {
					Attempts int
					Cause    string
				}
				require.NoError(t, w.to.Conn(t.Context()).Raw("SELECT attempts, cause FROM inbox WHERE state = 'dead'").Scan(&dead).Error)
				require.Equal(t, c.attempts, dead.Attempts)
				require.Contains(t, dead.Cause, c.cause)
			})
		})
	}
}

func TestDelivery_ViolationAtCommitBlamesItsEvent(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		w := setup(t, c)
		w.subscribe(t, event.On(said, "mail", func(ctx context.Context, m event.Meta, e *wrapperspb.StringValue) error {
			var text any = e.GetValue()
			if text == "bad" {
				text = nil
			}
			return w.to.Queue(ctx).Exec("INSERT INTO effects (subscriber, event, key, said) VALUES ('mail', ?, ?, ?)", m.ID, m.Key, text).Error
		}))
		for _, text := range []string{"a", "bad", "b"} {
			w.say(t, text, text)
		}
		run(t, w.bus)
		rows := w.eventually(t, 2)
		require.Equal(t, []string{"a", "b"}, []string{rows[0].Said, rows[1].Said})
		require.Eventually(t, func() bool { return count(t, w.to, "SELECT count(*) FROM inbox WHERE state = 'dead'") == 1 }, 5*time.Second, 5*time.Millisecond)
	})
}

func TestDelivery_RepeatHasNoEffect(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		w, pipe := setup(t, c), event.NewInProcess()
		o := options()
		o.Pipe = pipe
		w.bus = event.NewBus(o)
		w.publisher = w.bus.Publisher("order", w.from, []event.Type{said})
		w.subscribe(t, w.record("mail", nil))
		e := event.Envelope{
			Meta:    event.Meta{ID: uuid.NewString(), Type: said.Name(), Source: "order", Key: "k", Time: time.Now()},
			Payload: []byte{0x0a, 1, 'x'},
		}
		run(t, w.bus)
		<-w.bus.Subscribed()
		require.NoError(t, pipe.Deliver(t.Context(), "order", []event.Envelope{e, e}))
		w.eventually(t, 1)
		require.NoError(t, pipe.Deliver(t.Context(), "order", []event.Envelope{e}))
		w.say(t, "k", "last")
		require.Len(t, w.eventually(t, 2), 2)
	})
}

// counted is a pipe that notices when several relays deliver at the same time.
type counted struct {
	event.Pipe
	relays, together *atomic.Int32
}

func (c counted) Deliver(ctx context.Context, source string, events []event.Envelope) error {
	defer c.relays.Add(-1)
	if c.relays.Add(1) > 1 {
		c.together.Add(1)
	}
	return c.Pipe.Deliver(ctx, source, events)
}

func TestDelivery_TwoReplicas(t *testing.T) {
	t.Parallel()
	const events = 200
	w := setup(t, dbtest.Postgres(t))
	var relays, together atomic.Int32
	one := func(o *event.Options) {
		remember(o)
		o.Pipe = counted{event.NewInProcess(), &relays, &together}
	}
	w.with(one)
	w.subscribe(t, w.record("mail", nil))
	other := *w
	other.with(one)
	other.subscribe(t, other.record("mail", nil))
	run(t, w.bus)
	run(t, other.bus)
	var wg sync.WaitGroup
	for k, p := range []*world{w, &other} {
		wg.Go(func() {
			for i := range events / 2 {
				p.say(t, fmt.Sprint(k), fmt.Sprint(i))
			}
		})
	}
	wg.Wait()
	inOrder(t, w.eventually(t, events))
	require.Len(t, w.effects(t), events)
	kept(t, w, events)
	require.Zero(t, together.Load(), "one relay of an outbox works at a time")
}

// While the subscriber's database refuses, the event stays in the outbox.
func TestDelivery_OutboxKeepsWhatWasNotReceived(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		w := setup(t, c)
		w.subscribe(t, w.record("mail", nil))
		rename := func(from, to string) {
			require.NoError(t, w.to.Tx(t.Context(), func(ctx context.Context) error {
				return w.to.Conn(ctx).Exec("ALTER TABLE " + from + " RENAME TO " + to).Error
			}))
		}
		rename("inbox", "gone")
		run(t, w.bus)
		w.say(t, "k", "patient")
		require.Never(t, func() bool { return count(t, w.from, "SELECT count(*) FROM outbox") != 1 }, 150*time.Millisecond, 10*time.Millisecond)
		rename("gone", "inbox")
		require.Equal(t, "patient", w.eventually(t, 1)[0].Said)
	})
}
