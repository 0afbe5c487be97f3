package event_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"cleave/platform/db"
	"cleave/platform/db/dbtest"
	"cleave/platform/event"
	"cleave/platform/fault"
)

// started delivers until stop.
func started(t *testing.T, b *event.Bus) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	return func() {
		t.Helper()
		cancel()
		require.NoError(t, <-done)
	}
}

func kept(t *testing.T, w *world, n int) {
	t.Helper()
	require.Eventually(t, func() bool {
		return count(t, w.from, "SELECT count(*) FROM event_history") == n && count(t, w.from, "SELECT count(*) FROM outbox") == 0
	}, 20*time.Second, 5*time.Millisecond)
}

func remember(o *event.Options) { o.History = time.Hour }

// A newer release added a field that this one does not know.
func TestVersions_PayloadOfANewerMinorVersion(t *testing.T) {
	t.Parallel()
	w, pipe := setup(t, dbtest.SQLite(t)), event.NewInProcess()
	w.with(func(o *event.Options) { o.Pipe = pipe })
	unknown := make(chan []byte, 1)
	w.subscribe(t, event.On(said, "mail", func(_ context.Context, _ event.Meta, e *wrapperspb.StringValue) error {
		unknown <- append([]byte(e.GetValue()), e.ProtoReflect().GetUnknown()...)
		return nil
	}))
	run(t, w.bus)
	<-w.bus.Subscribed()
	require.NoError(t, pipe.Deliver(t.Context(), "order", []event.Envelope{{
		Meta:    event.Meta{ID: uuid.NewString(), Type: said.Name(), Source: "order", Key: "k", Time: time.Now()},
		Payload: []byte("\x0a\x03old\xb2\x01\x03new"), // field 22, a string
	}}))
	require.Equal(t, []byte("old\xb2\x01\x03new"), <-unknown)
}

// Without FromBeginning, a new handler begins with what is delivered once it is there.
func TestVersions_NewSubscriberFromNowOn(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		w := setup(t, c)
		w.with(remember)
		stop := started(t, w.bus)
		w.say(t, "k", "yesterday")
		kept(t, w, 1)
		stop()
		w.with(remember)
		w.subscribe(t, w.record("mail", nil))
		run(t, w.bus)
		w.say(t, "k", "today")
		w.eventually(t, 1)
		require.Equal(t, []string{"today"}, w.heard(t))
	})
}

// A handler that asks for history gets all of it first, in order and once, also
// when its process dies again and again in between.
func TestVersions_NewSubscriberWithHistory(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		const before, after = 130, 30
		w := setup(t, c)
		w.with(remember)
		w.subscribe(t, w.record("old", nil))
		stop := started(t, w.bus)
		for i := range before {
			w.say(t, fmt.Sprint("k", i%3), fmt.Sprint(i))
		}
		w.eventually(t, before)
		kept(t, w, before)
		stop()
		release := func() (stop func()) {
			w.with(func(o *event.Options) { remember(o); o.Batch = 7 })
			w.subscribe(t, w.record("old", nil), w.record("new", nil, event.FromBeginning()))
			return started(t, w.bus)
		}
		for _, received := range []int{10, 50} {
			stop := release()
			require.Eventually(t, func() bool {
				return count(t, w.to, "SELECT count(*) FROM inbox WHERE subscriber = 'notification.new'") >= received
			},
				20*time.Second, time.Millisecond)
			stop()
		}
		for i := range after {
			w.say(t, fmt.Sprint("k", i%3), fmt.Sprint(before+i))
		}
		defer release()()
		require.Eventually(t, func() bool {
			return count(t, w.to, "SELECT count(*) FROM effects WHERE subscriber = 'new'") >= before+after
		}, 20*time.Second, 5*time.Millisecond)
		var texts []string
		require.NoError(t, w.to.Conn(t.Context()).Raw("SELECT said FROM effects WHERE subscriber = 'new' ORDER BY n").Scan(&texts).Error)
		require.Len(t, texts, before+after, "each once")
		for i, text := range texts {
			require.Equal(t, fmt.Sprint(i), text)
		}
		require.Eventually(t, func() bool {
			return count(t, w.to, "SELECT count(*) FROM effects WHERE subscriber = 'old'") == before+after
		},
			20*time.Second, 5*time.Millisecond)
	})
}

func TestVersions_HistoryThatNobodyKeeps(t *testing.T) {
	t.Parallel()
	w := setup(t, dbtest.SQLite(t))
	w.subscribe(t, w.record("new", nil, event.FromBeginning()))
	require.ErrorContains(t, w.bus.Run(t.Context()), "notification.new asks for the history of order, which keeps none: set events.history")
}

// A follower that no longer asks for history goes on where it was.
func TestVersions_FollowerThatNoLongerAsks(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		w := setup(t, c)
		w.with(remember)
		w.subscribe(t, w.record("new", nil, event.FromBeginning()))
		stop := started(t, w.bus)
		w.say(t, "k", "1")
		w.eventually(t, 1)
		stop()
		w.with(remember) // published and relayed by a process without the handler
		stop = started(t, w.bus)
		w.say(t, "k", "2")
		kept(t, w, 2)
		stop()
		w.with(remember)
		w.subscribe(t, w.record("new", nil))
		run(t, w.bus)
		w.say(t, "k", "3")
		w.eventually(t, 3)
		require.Equal(t, []string{"1", "2", "3"}, w.heard(t))
	})
}

// A renamed handler takes over what waits for its old name and what that had
// handled; without Formerly it would be a new subscriber.
func TestVersions_RenamedHandler(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		w, pipe := setup(t, c), event.NewInProcess()
		w.with(func(o *event.Options) { o.MaxAttempts = 1 << 20 })
		refuse := func(text string) error {
			if text == "dead" {
				return fault.New(fault.Unprocessable, "", "no")
			}
			if text != "done" {
				return fault.New(fault.Unavailable, "", "not yet")
			}
			return nil
		}
		w.subscribe(t, w.record("mail", refuse))
		stop := started(t, w.bus)
		w.say(t, "k", "done")
		done := w.eventually(t, 1)[0]
		w.say(t, "d", "dead")
		w.dead(t, 1, event.DeadFilter{})
		w.say(t, "k", "2")
		w.say(t, "k", "3")
		require.Eventually(t, func() bool { return count(t, w.to, "SELECT count(*) FROM inbox WHERE state = 'pending'") == 2 }, 20*time.Second, 5*time.Millisecond)
		stop()

		w.with(func(o *event.Options) { o.Pipe = pipe })
		w.subscribe(t, w.record("letter", nil, event.Formerly("mail")))
		run(t, w.bus)
		<-w.bus.Subscribed()
		require.NoError(t, pipe.Deliver(t.Context(), "order", []event.Envelope{{ // once more, as after a crash
			Meta: event.Meta{ID: done.Event, Type: said.Name(), Source: "order", Key: "k", Time: time.Now()}, Payload: []byte("\x0a\x04done"),
		}}))
		w.say(t, "k", "4")
		w.eventually(t, 4)
		require.Equal(t, []string{"done", "2", "3", "4"}, w.heard(t))
		require.Zero(t, count(t, w.to, "SELECT count(*) FROM inbox WHERE subscriber = ?", mail))
		require.Equal(t, "notification.letter", w.dead(t, 1, event.DeadFilter{})[0].Subscriber)
		lags, err := event.Lag(t.Context(), w.to)
		require.NoError(t, err)
		require.Len(t, lags, 1)
		require.False(t, lags[0].Orphaned)
	})
}

// During a rolling deployment both names receive, from a relay each; every event
// takes effect once.
func TestVersions_RenamedDuringARollingDeployment(t *testing.T) {
	t.Parallel()
	const keys, each = 4, 60
	w := setup(t, dbtest.Postgres(t))
	var n atomic.Int64
	flaky := func(string) error {
		if n.Add(1)%11 == 0 {
			return fault.New(fault.Unavailable, "", "now and then")
		}
		return nil
	}
	patient := func(o *event.Options) { o.MaxAttempts = 1 << 20; o.Batch = 5 }
	w.with(patient)
	w.subscribe(t, w.record("mail", flaky))
	next := *w
	next.with(patient)
	next.subscribe(t, next.record("letter", flaky, event.Formerly("mail")))
	stop := started(t, w.bus)
	run(t, next.bus)
	for i := range each {
		for k := range keys {
			publisher := w
			if (i+k)%2 == 0 {
				publisher = &next
			}
			publisher.say(t, fmt.Sprint("k", k), fmt.Sprint(i))
		}
		if i == each*2/3 {
			stop()
		}
	}
	once := map[string]bool{}
	for _, e := range w.eventually(t, keys*each) {
		require.False(t, once[e.Event], "%+v", e)
		once[e.Event] = true
	}
	require.Len(t, once, keys*each)
}

// inOrder expects the texts of each key to count up from 0.
func inOrder(t *testing.T, effects []effect) {
	t.Helper()
	next := map[string]int{}
	for _, e := range effects {
		require.Equal(t, fmt.Sprint(next[e.Key]), e.Said, "key %s", e.Key)
		next[e.Key]++
	}
}
