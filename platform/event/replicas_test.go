package event_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"cleave/platform/db"
	"cleave/platform/db/dbtest"
	"cleave/platform/event"
)

// replica is one more bus on the same databases whose handler fails now and
// then, before or after it wrote.
func (w *world) replica(t *testing.T, seed uint64) *event.Bus {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 1))
	var mu sync.Mutex
	now := func(n int) bool { mu.Lock(); defer mu.Unlock(); return random.IntN(n) == 0 }
	mine := *w
	mine.with(func(o *event.Options) { o.MaxAttempts, o.Batch = 1<<20, 1+int(seed%7) })
	mine.subscribe(t, event.On(said, "mail", func(ctx context.Context, m event.Meta, e *wrapperspb.StringValue) error {
		if now(20) {
			return errors.New("before the write")
		}
		write := mine.to.Queue(ctx)
		if now(2) {
			write = mine.to.Conn(ctx)
		}
		err := write.Exec("INSERT INTO effects (subscriber, event, key, said) VALUES ('mail', ?, ?, ?)", m.ID, m.Key, e.GetValue()).Error
		if err == nil && now(20) {
			return errors.New("after the write")
		}
		return err
	}))
	return mine.bus
}

// Whatever happens to replicas and connections, each event has its effect once
// and in the order of its key.
func TestReplicas_ExactlyOnceInOrder(t *testing.T) {
	t.Parallel()
	const keys, each, replicas = 5, 60, 3
	c := dbtest.Postgres(t)
	w := setup(t, c)
	seed := rand.Uint64()
	t.Log("seed", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	for r := range replicas { // each stops and is replaced at random
		group.Go(func() {
			for generation := uint64(0); ctx.Err() == nil; generation++ {
				life, end := context.WithTimeout(ctx, time.Duration(50+seed>>r%300)*time.Millisecond)
				_ = w.replica(t, seed+uint64(r)*1000+generation).Run(life)
				end()
			}
		})
	}
	group.Go(func() { // connections break at random
		admin, err := db.Open(ctx, c, "order", nil)
		if err != nil {
			return
		}
		defer func() { _ = admin.Close() }()
		for ctx.Err() == nil {
			for _, d := range []*db.DB{w.from, w.to} {
				_ = d.Conn(ctx).Exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = current_user AND pid <> pg_backend_pid() ORDER BY random() LIMIT 2").Error
			}
			select {
			case <-ctx.Done():
			case <-time.After(time.Duration(20+random.IntN(80)) * time.Millisecond):
			}
		}
	})
	for k := range keys {
		group.Go(func() {
			for i := range each {
				for { // an acknowledgement that was lost makes the outcome unknown: the row tells
					err := w.from.Tx(ctx, func(ctx context.Context) error {
						err := w.from.Conn(ctx).Exec("INSERT INTO effects (subscriber, event, key, said) SELECT 'said', '', ?, ? WHERE NOT EXISTS "+
							"(SELECT 1 FROM effects WHERE key = ? AND said = ?)", fmt.Sprint(k), fmt.Sprint(i), fmt.Sprint(k), fmt.Sprint(i)).Error
						if err != nil {
							return err
						}
						var own int
						if err := w.from.Conn(ctx).Raw("SELECT count(*) FROM effects WHERE key = ? AND said = ? AND xmin::text = pg_current_xact_id()::text", fmt.Sprint(k), fmt.Sprint(i)).Scan(&own).Error; err != nil || own == 0 {
							return err
						}
						return w.publisher.Publish(ctx, fmt.Sprint(k), wrapperspb.String(fmt.Sprint(i)))
					})
					if err == nil || ctx.Err() != nil {
						break
					}
				}
			}
		})
	}
	require.Eventually(t, func() bool {
		var n int
		err := w.to.Conn(ctx).Raw("SELECT count(*) FROM effects").Scan(&n).Error
		return err == nil && n >= keys*each
	}, 60*time.Second, 20*time.Millisecond)
	cancel()
	group.Wait()
	require.Eventually(t, func() bool { return w.to.Ping(t.Context()) == nil }, 5*time.Second, 10*time.Millisecond)
	effects := w.effects(t)
	inOrder(t, effects)
	require.Len(t, effects, keys*each)
}

// TestReplicas_Killed kills a process that publishes and handles, several times,
// and goes on in the next one.
func TestReplicas_Killed(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		const events, kills = 150, 5
		setup(t, c)
		seed := rand.Uint64()
		t.Log("seed", seed)
		random := rand.New(rand.NewPCG(seed, 0))
		for range kills {
			killed(t, "TestChild", c, events, time.Duration(100+random.IntN(400))*time.Millisecond)
		}
		last := &world{from: dbtest.Open(t, c, "order", effects(), nil), to: dbtest.Open(t, c, "notification", effects(), nil)}
		last.work(t, events)
		rows := last.eventually(t, events)
		inOrder(t, rows)
		require.Len(t, rows, events)
	})
}

// work goes on publishing up to n events, and delivers until the test ends.
func (w *world) work(t *testing.T, n int) {
	w.with(func(*event.Options) {})
	w.subscribe(t, w.record("mail", nil))
	run(t, w.bus)
	w.resume(t, n, 0)
}

// TestChild is the process that TestReplicas_Killed kills.
func TestChild(t *testing.T) {
	asChild(t, func(_ db.Config, open func(string) *db.DB, events int) {
		w := &world{from: open("order"), to: open("notification")}
		w.work(t, events)
	})
}
