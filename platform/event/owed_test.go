package event_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"cleave/platform/db"
	"cleave/platform/db/dbtest"
	"cleave/platform/event"
)

// debtor is a world with one more subscriber, whose database can be made to hang.
type debtor struct {
	*world
	c       db.Config
	slow    *db.DB
	history time.Duration
}

const (
	slowMail = "ledger.mail"
	pause    = time.Millisecond // between events, so that they last for a few kills
)

func owing(t *testing.T, c db.Config) *debtor {
	t.Helper()
	return &debtor{world: setup(t, c), c: c, slow: dbtest.Open(t, c, "ledger", effects(), nil)}
}

// start delivers to both until the returned func is called.
func (w *debtor) start(t *testing.T, handlers ...event.Handler) (stop func()) {
	t.Helper()
	w.with(func(o *event.Options) { o.Patience, o.Batch, o.History = 100*time.Millisecond, 10, w.history })
	w.subscribe(t, w.record("mail", nil))
	if handlers == nil {
		handlers = []event.Handler{w.records("mail")}
	}
	require.NoError(t, w.bus.Subscribe("ledger", w.slow, []event.Type{said}, handlers))
	return started(t, w.bus)
}

// records is a handler of the database that hangs.
func (w *debtor) records(name string, options ...event.Option) event.Handler {
	return event.On(said, name, func(ctx context.Context, m event.Meta, e *wrapperspb.StringValue) error {
		return w.slow.Queue(ctx).Exec("INSERT INTO effects (subscriber, event, key, said) VALUES (?, ?, ?, ?)", name, m.ID, m.Key, e.GetValue()).Error
	}, options...)
}

// hang keeps the slow database from answering until the returned func is called.
func (w *debtor) hang(t *testing.T) (mend func()) {
	t.Helper()
	other, err := db.Open(t.Context(), w.c, "ledger", nil)
	require.NoError(t, err)
	held, done, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	statement := "INSERT INTO effects (subscriber, event, key, said) SELECT '', '', '', '' WHERE 1 = 0" // takes the file
	if other.Dialect() == "postgres" {
		statement = "LOCK TABLE inbox IN ACCESS EXCLUSIVE MODE"
	}
	go func() {
		ended <- other.Tx(context.Background(), func(ctx context.Context) error {
			if err := other.Conn(ctx).Exec(statement).Error; err != nil {
				return err
			}
			close(held)
			<-done
			return nil
		})
	}()
	<-held
	return func() {
		close(done)
		require.NoError(t, <-ended)
		require.NoError(t, other.Close())
	}
}

// has waits for n effects of the slow subscriber, and requires their order.
func (w *debtor) has(t *testing.T, n int) {
	t.Helper()
	effects := func() (rows []effect) {
		require.NoError(t, w.slow.Conn(t.Context()).Raw("SELECT subscriber, event, key, said FROM effects ORDER BY n").Scan(&rows).Error)
		return rows
	}
	require.Eventually(t, func() bool { return len(effects()) >= n }, 30*time.Second, 5*time.Millisecond)
	inOrder(t, effects())
	require.Len(t, effects(), n)
}

// sayAll publishes the events from the first to before the last, over three keys.
func (w *debtor) sayAll(t *testing.T, first, last int) {
	t.Helper()
	for i := first; i < last; i++ {
		w.say(t, fmt.Sprint(i%3), fmt.Sprint(i/3))
	}
}

func (w *debtor) outbox(t *testing.T) int {
	t.Helper()
	waiting, _, err := event.OutboxLag(t.Context(), w.from)
	require.NoError(t, err)
	return waiting
}

// A database that does not answer holds up its own subscriber and no other one,
// and what waits for it is in the outbox, in order, whatever else happens.
func TestOwed(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		t.Parallel()
		w := owing(t, c)
		stop := w.start(t)
		w.sayAll(t, 0, 6)
		w.has(t, 6)
		mend := w.hang(t)
		w.sayAll(t, 6, 90)
		inOrder(t, w.eventually(t, 90))
		require.Eventually(t, func() bool { return w.outbox(t) == 84 }, 5*time.Second, 5*time.Millisecond, "what is owed counts as waiting")
		if w.slow.Dialect() == "postgres" { // the whole file of the other could not even be opened
			stop()
			stop = w.start(t)
		}
		w.sayAll(t, 90, 120)
		inOrder(t, w.eventually(t, 120))
		mend()
		w.sayAll(t, 120, 150)
		w.has(t, 150)
		require.Eventually(t, func() bool { return w.outbox(t) == 0 }, 5*time.Second, 5*time.Millisecond)
		w.sayAll(t, 150, 156)
		w.has(t, 156)
		require.Len(t, w.eventually(t, 156), 156, "nobody else heard anything twice")
		stop()
		require.Zero(t, count(t, w.slow, "SELECT count(*) FROM inbox WHERE state <> 'done'"))
	})
}

// What is owed to a subscriber that a release has renamed or removed goes to everyone, who know it.
func TestOwed_ToNobody(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		t.Parallel()
		w := owing(t, c)
		stop := w.start(t)
		w.sayAll(t, 0, 3)
		w.has(t, 3)
		mend := w.hang(t)
		w.sayAll(t, 3, 30)
		w.eventually(t, 30)
		require.Eventually(t, func() bool {
			return count(t, w.from, "SELECT count(*) FROM outbox WHERE owed_to = ?", "|"+slowMail+"|") == 27
		}, 5*time.Second, 5*time.Millisecond)
		stop()
		mend()
		defer w.start(t, w.records("post", event.Formerly("mail")))()
		w.has(t, 30)
		require.Eventually(t, func() bool { return w.outbox(t) == 0 }, 5*time.Second, 5*time.Millisecond)
		require.Len(t, w.eventually(t, 30), 30)
	})
}

// What has to be forgotten is forgotten while it is owed, too, and a history has it once.
func TestOwed_ErasedAndKept(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		t.Parallel()
		w := owing(t, c)
		w.history = time.Hour
		stop := w.start(t)
		w.sayAll(t, 0, 3)
		w.has(t, 3)
		mend := w.hang(t)
		w.sayAll(t, 3, 9)
		w.eventually(t, 9)
		require.Eventually(t, func() bool { return count(t, w.from, "SELECT count(*) FROM event_history") == 9 }, 5*time.Second, 5*time.Millisecond)
		stop()
		if w.from.Dialect() == "postgres" { // a statement that was given up still waits for its lock until the server learns of that
			require.Eventually(t, func() bool {
				return count(t, w.from, "SELECT count(*) FROM pg_locks WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())") == 0
			}, 10*time.Second, 5*time.Millisecond)
		}
		require.NoError(t, w.from.Tx(t.Context(), func(ctx context.Context) error { return event.Erase(ctx, w.from, "1") }))
		require.Equal(t, 4, w.outbox(t))
		mend()
		stop = w.start(t)
		w.has(t, 7)
		require.Eventually(t, func() bool { return w.outbox(t) == 0 }, 5*time.Second, 5*time.Millisecond)
		require.Equal(t, 6, count(t, w.from, "SELECT count(*) FROM event_history"))
		stop()
	})
}

// TestOwed_Killed kills a process that publishes and delivers while the slow database hangs, and when it answers again.
func TestOwed_Killed(t *testing.T) {
	t.Parallel()
	const events, kills = 150, 6
	c := dbtest.Postgres(t)
	w := owing(t, c)
	mend := w.hang(t)
	for kill := range kills {
		if kill == kills/2 {
			// On a busy machine all may have been killed before they gave the slow database up.
			for try := 1; count(t, w.from, "SELECT count(*) FROM outbox WHERE owed_to <> ''") == 0; try++ {
				require.Less(t, try, 6, "nothing is owed")
				killed(t, "TestOwedChild", c, events, time.Duration(try)*time.Second)
			}
			mend()
		}
		killed(t, "TestOwedChild", c, events, time.Duration(300+rand.IntN(400))*time.Millisecond)
	}
	defer w.start(t)()
	w.resume(t, events, pause)
	rows := w.eventually(t, events)
	inOrder(t, rows)
	require.Len(t, rows, events)
	w.has(t, events)
	require.Eventually(t, func() bool { return w.outbox(t) == 0 }, 10*time.Second, 5*time.Millisecond)
}

// TestOwedChild is the process that TestOwed_Killed kills.
func TestOwedChild(t *testing.T) {
	asChild(t, func(c db.Config, open func(string) *db.DB, events int) {
		w := &debtor{world: &world{from: open("order"), to: open("notification")}, c: c, slow: open("ledger")}
		t.Cleanup(w.start(t))
		w.resume(t, events, pause)
	})
}
