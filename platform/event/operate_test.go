package event_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cleave/platform/db"
	"cleave/platform/db/dbtest"
	"cleave/platform/event"
	"cleave/platform/fault"
)

const mail = "notification.mail"

// broken is a handler that refuses texts with "bad" in them until mended.
func (w *world) broken(mended *atomic.Bool) event.Handler {
	return w.record("mail", func(text string) error {
		if strings.Contains(text, "bad") && !mended.Load() {
			return fault.New(fault.Unprocessable, "nonsense", "makes no sense")
		}
		return nil
	})
}

func (w *world) dead(t *testing.T, n int, f event.DeadFilter) []event.DeadLetter {
	t.Helper()
	var letters []event.DeadLetter
	require.Eventually(t, func() bool {
		var err error
		letters, err = event.ListDead(t.Context(), w.to, f)
		require.NoError(t, err)
		return len(letters) == n
	}, 20*time.Second, 5*time.Millisecond)
	return letters
}

// refuse puts events among the dead ones of the outbox.
func refuse(t *testing.T, d *db.DB, seq int64, key, text string) (id string) {
	t.Helper()
	id = uuid.NewString()
	require.NoError(t, d.Tx(t.Context(), func(ctx context.Context) error {
		return d.Queue(ctx).Exec("INSERT INTO outbox_dead (seq, id, type, key, at, traceparent, causation, payload, attempts, cause, dead_at) "+
			"VALUES (?, ?, ?, ?, 1, '', '', ?, 1, 'too large', ?)", seq, id, said.Name(), key, append([]byte{0x0a, byte(len(text))}, text...), seq).Error
	}))
	return id
}

// received puts an event into the inbox of mail, as a pipe does.
func received(t *testing.T, d *db.DB, id, key, text string) {
	t.Helper()
	require.NoError(t, d.Tx(t.Context(), func(ctx context.Context) error {
		return d.Queue(ctx).Exec("INSERT INTO inbox (subscriber, id, type, source, key, at, payload) VALUES (?, ?, ?, 'order', ?, 1, ?) ON CONFLICT DO NOTHING",
			mail, id, said.Name(), key, append([]byte{0x0a, byte(len(text))}, text...)).Error
	}))
}

func TestDeadLetters_ListAndShow(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		w := setup(t, c)
		w.subscribe(t, w.record("mail", func(text string) error { panic("boom " + text) }), w.record("log", func(string) error { return errors.New("broken") }))
		run(t, w.bus)
		began := time.Now().Add(-time.Second)
		for _, key := range []string{"a", "a", "b"} {
			w.say(t, key, "word")
		}
		all := w.dead(t, 6, event.DeadFilter{})
		for _, l := range all {
			require.Equal(t, []any{said.Name(), "order", 6, 4}, []any{l.Type, l.Source, l.Size, l.Attempts})
			require.True(t, l.Time.After(began) && !l.DeadAt.Before(l.Time), "%v %v", l.Time, l.DeadAt)
			require.Empty(t, l.Payload)
			require.Empty(t, l.Stack)
		}
		var paged []event.DeadLetter
		for f := (event.DeadFilter{Limit: 4}); ; f.Cursor = paged[len(paged)-1].Cursor() {
			page, err := event.ListDead(t.Context(), w.to, f)
			require.NoError(t, err)
			if paged = append(paged, page...); len(page) < f.Limit {
				break
			}
		}
		require.Equal(t, all, paged)

		for _, c := range []struct {
			want int
			f    event.DeadFilter
		}{
			{3, event.DeadFilter{Subscriber: mail}},
			{2, event.DeadFilter{Subscriber: mail, Key: "a"}},
			{1, event.DeadFilter{Subscriber: mail, Key: "b", Type: said.Name()}},
			{2, event.DeadFilter{IDs: []string{all[0].ID}, Before: time.Now().Add(time.Hour)}},
			{6, event.DeadFilter{After: began}},
			{0, event.DeadFilter{Before: began}},
			{0, event.DeadFilter{Type: "nothing.Like.It"}},
		} {
			found, err := event.ListDead(t.Context(), w.to, c.f)
			require.NoError(t, err)
			require.Len(t, found, c.want, "%+v", c.f)
		}

		shown, err := event.ShowDead(t.Context(), w.to, mail, all[0].ID)
		require.NoError(t, err)
		require.Equal(t, []byte("\x0a\x04word"), shown.Payload)
		require.Contains(t, shown.Cause, "panic: boom word")
		require.NotContains(t, shown.Cause, ".go:")
		require.Contains(t, shown.Stack, "operate_test.go:")
		_, err = event.ShowDead(t.Context(), w.to, mail, "nobody")
		require.Equal(t, "dead_letter_unknown", fault.CodeOf(err))
	})
}

func TestDeadLetters_RefuseWhatCannotBeSearched(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		d := dbtest.Open(t, c, "notification", nil, nil)
		for _, f := range []event.DeadFilter{
			{Limit: -1}, {Limit: event.MaxDeadLimit + 1}, {IDs: make([]string, event.MaxDeadLimit+1)}, {Key: "a\x00"}, {Subscriber: "\xff"},
		} {
			_, err := event.ListDead(t.Context(), d, f)
			require.Equal(t, fault.Invalid, fault.KindOf(err))
			_, err = event.RetryDead(t.Context(), d, f)
			require.Equal(t, fault.Invalid, fault.KindOf(err))
			_, err = event.DiscardDead(t.Context(), d, f)
			require.Equal(t, fault.Invalid, fault.KindOf(err))
		}
		_, err := event.ShowDead(t.Context(), d, mail, "\x00")
		require.Equal(t, fault.Invalid, fault.KindOf(err))
	})
}

// A retried event runs before the later ones of its key that still wait.
func TestDeadLetters_RetryInPlace(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		w := setup(t, c)
		var mended atomic.Bool
		w.subscribe(t, w.broken(&mended))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.bus.Run(ctx) }()
		w.say(t, "k", "bad 1")
		w.say(t, "k", "good 2")
		w.say(t, "other", "bad 3")
		w.dead(t, 2, event.DeadFilter{})
		require.Equal(t, "good 2", w.eventually(t, 1)[0].Said)
		cancel()
		require.NoError(t, <-done)
		received(t, w.to, "4", "k", "good 4")
		mended.Store(true)
		n, err := event.RetryDead(t.Context(), w.to, event.DeadFilter{Key: "k"})
		require.NoError(t, err)
		require.Equal(t, 1, n)

		again := event.NewBus(options())
		require.NoError(t, again.Subscribe("notification", w.to, []event.Type{said}, []event.Handler{w.broken(&mended)}))
		run(t, again)
		var heard []string
		for _, e := range w.eventually(t, 3) {
			heard = append(heard, e.Said)
		}
		require.Equal(t, []string{"good 2", "bad 1", "good 4"}, heard)
		require.Len(t, w.dead(t, 1, event.DeadFilter{}), 1, "the other key stays")
	})
}

func TestDeadLetters_DiscardRefusesTheRepeat(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		w := setup(t, c)
		var mended atomic.Bool
		w.subscribe(t, w.broken(&mended))
		run(t, w.bus)
		for i := range 3 {
			w.say(t, "k", fmt.Sprint("bad ", i))
		}
		letter := w.dead(t, 3, event.DeadFilter{})[0]
		for _, want := range []int{2, 1, 0} {
			n, err := event.DiscardDead(t.Context(), w.to, event.DeadFilter{Subscriber: mail, Limit: 2})
			require.NoError(t, err)
			require.Equal(t, want, n)
		}
		mended.Store(true)
		received(t, w.to, letter.ID, "k", "bad")
		w.say(t, "k", "last")
		require.Equal(t, "last", w.eventually(t, 1)[0].Said)
	})
}

func TestDeadLetters_OfTheOutbox(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		w := setup(t, c)
		w.subscribe(t, w.record("mail", nil))
		w.say(t, "k", "first") // nobody delivers yet
		early := refuse(t, w.from, -7, "k", "early")
		gone := refuse(t, w.from, -6, "k", "gone")
		letters, err := event.ListDead(t.Context(), w.from, event.DeadFilter{Subscriber: event.Outbox})
		require.NoError(t, err)
		require.Equal(t, []string{early, gone}, []string{letters[0].ID, letters[1].ID})
		require.Equal(t, []string{event.Outbox, "order", "too large"}, []string{letters[0].Subscriber, letters[0].Source, letters[0].Cause})
		shown, err := event.ShowDead(t.Context(), w.from, event.Outbox, early)
		require.NoError(t, err)
		require.Equal(t, []byte("\x0a\x05early"), shown.Payload)
		none, err := event.ListDead(t.Context(), w.from, event.DeadFilter{Subscriber: mail})
		require.NoError(t, err)
		require.Empty(t, none)

		n, err := event.RetryDead(t.Context(), w.from, event.DeadFilter{IDs: []string{early}})
		require.NoError(t, err)
		require.Equal(t, 1, n)
		n, err = event.DiscardDead(t.Context(), w.from, event.DeadFilter{})
		require.NoError(t, err)
		require.Equal(t, 1, n)
		run(t, w.bus)
		rows := w.eventually(t, 2)
		require.Equal(t, []string{"early", "first"}, []string{rows[0].Said, rows[1].Said})
		require.Zero(t, count(t, w.from, "SELECT count(*) FROM outbox_dead"))
	})
}

func TestLagAndTopics(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		w := setup(t, c)
		fail := func(text string) error {
			if text == "dead" {
				return fault.New(fault.Unprocessable, "", "no")
			}
			return fault.New(fault.Unavailable, "", "not yet")
		}
		o := options()
		o.MaxAttempts = 1 << 20
		w.bus = event.NewBus(o)
		w.publisher = w.bus.Publisher("order", w.from, []event.Type{said})
		w.subscribe(t, w.record("mail", fail), w.record("idle", nil))
		began := time.Now().Add(-time.Second)
		w.say(t, "k", "waits")
		w.say(t, "k", "waits behind")
		w.say(t, "dead", "dead")
		n, oldest, err := event.OutboxLag(t.Context(), w.from)
		require.NoError(t, err)
		require.Equal(t, 3, n)
		require.True(t, oldest.After(began))
		topics, err := event.Topics(t.Context(), w.from)
		require.NoError(t, err)
		require.Equal(t, []event.Topic{{Type: said.Name(), Waiting: 3}}, topics)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.bus.Run(ctx) }()
		lag := func(want ...event.SubscriberLag) {
			t.Helper()
			require.Eventually(t, func() bool {
				lags, err := event.Lag(t.Context(), w.to)
				require.NoError(t, err)
				for i, l := range lags {
					if l.Pending > 0 && l.Oldest.Before(began) || l.Pending == 0 && !l.Oldest.IsZero() {
						return false
					}
					lags[i].Oldest = time.Time{}
				}
				return fmt.Sprint(want) == fmt.Sprint(lags)
			}, 20*time.Second, 5*time.Millisecond)
		}
		idle := event.SubscriberLag{Subscriber: "notification.idle", Type: said.Name()}
		busy := event.SubscriberLag{Subscriber: mail, Type: said.Name(), Pending: 2, Retrying: 1, Dead: 1}
		lag(idle, busy)
		require.Eventually(t, func() bool { // an inbox has an event before the outbox is rid of it
			n, oldest, err := event.OutboxLag(t.Context(), w.from)
			require.NoError(t, err)
			return n == 0 && oldest.IsZero()
		}, 20*time.Second, 5*time.Millisecond)
		cancel()
		require.NoError(t, <-done)

		// The next release has no mail handler.
		next := event.NewBus(options())
		require.NoError(t, next.Subscribe("notification", w.to, []event.Type{said}, []event.Handler{w.record("idle", nil)}))
		run(t, next)
		busy.Orphaned = true
		lag(idle, busy)
		topics, err = event.Topics(t.Context(), w.to)
		require.NoError(t, err)
		require.Len(t, topics, 1)
		require.Len(t, topics[0].Subscribers, 2)
		require.Equal(t, []any{"notification.idle", false, mail, true}, []any{
			topics[0].Subscribers[0].Name, topics[0].Subscribers[0].Orphaned, topics[0].Subscribers[1].Name, topics[0].Subscribers[1].Orphaned,
		})
		require.True(t, topics[0].Subscribers[0].Since.After(began))
	})
}
