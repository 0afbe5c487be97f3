package faulttest_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"cleave/platform/db"
	"cleave/platform/db/dbtest"
	"cleave/platform/event"
	"cleave/platform/fault"
	"cleave/platform/faulttest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// rates are such that each kind comes often.
func newPlan(seed uint64) *faulttest.Plan {
	return faulttest.New(faulttest.Options{Seed: seed, Rate: 0.8, Delay: 1})
}

// TestSameSeed runs operations of several sites in different orders: the seed
// decides on each all the same.
func TestSameSeed(t *testing.T) {
	t.Parallel()
	const sites, operations = 5, 200
	commit := func(p *faulttest.Plan, site int) {
		_ = p.Commit(t.Context(), fmt.Sprint("module", site), func() error { return nil }) // what it decides is what counts
	}
	inTurn, atOnce, other := newPlan(7), newPlan(7), newPlan(8)
	for range operations {
		for site := range sites {
			commit(inTurn, site)
			commit(other, site)
		}
	}
	var wg sync.WaitGroup
	for site := range sites {
		for range 4 {
			wg.Go(func() {
				for range operations / 4 {
					commit(atOnce, site)
				}
			})
		}
	}
	wg.Wait()
	require.Equal(t, inTurn.Sites(), atOnce.Sites())
	for site, decisions := range inTurn.History() {
		require.ElementsMatch(t, decisions, atOnce.History()[site], "%s", site)
		require.InDelta(t, 0.8*operations, len(decisions), 0.15*operations, "%s", site)
	}
	require.NotEqual(t, inTurn.History(), other.History())
}

func TestStop(t *testing.T) {
	t.Parallel()
	p := faulttest.New(faulttest.Options{Rate: 1, Delay: 1})
	p.Stop()
	require.NoError(t, p.Commit(t.Context(), "order", func() error { return nil }))
	require.Empty(t, p.History())
	p.Start()
	_ = p.Commit(t.Context(), "order", func() error { return nil })
	require.Len(t, p.History()["commit of order"], 1)
	late := faulttest.New(faulttest.Options{Rate: 1, After: time.Hour})
	require.NoError(t, late.Commit(t.Context(), "order", func() error { return nil }))
	require.Empty(t, late.History())
}

// TestCrash ends the process before or after the operation.
func TestCrash(t *testing.T) {
	t.Parallel()
	ended := errors.New("the process has ended")
	before, after := 0, 0
	p := faulttest.New(faulttest.Options{Crash: 1, Exit: func() { panic(ended) }})
	for range 50 {
		done := false
		require.PanicsWithValue(t, ended, func() {
			_ = p.Commit(t.Context(), "order", func() error { done = true; return nil })
		})
		if done {
			after++
		} else {
			before++
		}
	}
	require.Positive(t, before)
	require.Positive(t, after)
}

func TestParse(t *testing.T) {
	t.Parallel()
	o, err := faulttest.Parse("seed=7,rate=0.05,crash=0.002,delay=50ms,after=1s")
	require.NoError(t, err)
	require.Equal(t, faulttest.Options{Seed: 7, Rate: 0.05, Crash: 0.002, Delay: 50 * time.Millisecond, After: time.Second}, o)
	for _, text := range []string{"", "seed", "seed=-1", "rate=2", "rate=x", "crash=-0.1", "delay=5", "speed=1", "seed=1;rate=1"} {
		_, err := faulttest.Parse(text)
		require.ErrorIs(t, err, fault.New(fault.Invalid, "faults_invalid", ""), "%q", text)
	}
}

// kinds calls check with each decision of the plan's only site, and requires
// that every kind came.
func kinds(t *testing.T, p *faulttest.Plan, n int, check func(n int, k faulttest.Kind)) {
	t.Helper()
	require.Len(t, p.Sites(), 1)
	decided := map[uint64]faulttest.Kind{}
	seen := map[faulttest.Kind]bool{}
	for _, d := range p.History()[p.Sites()[0]] {
		decided[d.N] = d.Kind
	}
	for i := range n {
		k := decided[uint64(i+1)]
		seen[k] = true
		check(i, k)
	}
	require.Len(t, seen, 5)
}

// TestCommit compares what transactions say with what the database holds.
func TestCommit(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		t.Parallel()
		const n = 60
		p := newPlan(3)
		p.Stop()
		c.Commit = p.Commit
		d := dbtest.Open(t, c, "order", nil, nil)
		p.Start()
		errs, runs := make([]error, n), make([]int, n)
		for i := range n {
			errs[i] = d.Tx(t.Context(), func(ctx context.Context) error {
				runs[i]++
				return d.Queue(ctx).Exec("INSERT INTO secrets (name, value) VALUES (?, ?)", fmt.Sprint(i), []byte("x")).Error
			})
		}
		p.Stop()
		// A transaction that is run again is an operation more.
		var operations int
		decided := map[uint64]faulttest.Kind{}
		for _, d := range p.History()["commit of order"] {
			decided[d.N] = d.Kind
		}
		seen := map[faulttest.Kind]bool{}
		for i := range n {
			var last faulttest.Kind
			for range runs[i] {
				operations++
				last = decided[uint64(operations)]
				seen[last] = true
			}
			var stored int64
			require.NoError(t, d.Conn(t.Context()).Raw("SELECT count(*) FROM secrets WHERE name = ?", fmt.Sprint(i)).Scan(&stored).Error)
			switch last {
			case faulttest.None, faulttest.Delay:
				require.NoError(t, errs[i])
				require.Equal(t, int64(1), stored)
			case faulttest.Fail, faulttest.Repeat: // the last of its attempts has failed as well
				require.Equal(t, fault.Unavailable, fault.KindOf(errs[i]))
				require.Zero(t, stored)
			case faulttest.Lose:
				require.Equal(t, fault.Unavailable, fault.KindOf(errs[i]))
				require.Equal(t, int64(1), stored)
			}
		}
		require.Len(t, seen, 5)
	})
}

// callee counts the calls that reach it.
type callee struct {
	grpc.ClientConnInterface
	calls int
}

func (c *callee) Invoke(_ context.Context, _ string, _, reply any, _ ...grpc.CallOption) error {
	c.calls++
	reply.(*wrapperspb.StringValue).Value = "done"
	return nil
}

func TestConn(t *testing.T) {
	t.Parallel()
	const n = 60
	p, far := newPlan(3), &callee{}
	c := p.Conn("order", "user", far)
	errs, calls, replies := make([]error, n), make([]int, n), make([]string, n)
	for i := range n {
		before, reply := far.calls, &wrapperspb.StringValue{}
		errs[i] = c.Invoke(t.Context(), "/service/Method", &wrapperspb.StringValue{}, reply)
		calls[i], replies[i] = far.calls-before, reply.Value
	}
	kinds(t, p, n, func(i int, k faulttest.Kind) {
		want := map[faulttest.Kind]int{faulttest.None: 1, faulttest.Delay: 1, faulttest.Lose: 1, faulttest.Repeat: 2}[k]
		require.Equal(t, want, calls[i], "%v", k)
		if k == faulttest.Fail || k == faulttest.Lose {
			require.Equal(t, codes.Unavailable, status.Code(errs[i]))
			require.Empty(t, replies[i], "an answer that is lost")
			return
		}
		require.NoError(t, errs[i])
		require.Equal(t, "done", replies[i])
	})
}

// hop counts what reaches it, and gives what it has to accept.
type hop struct {
	event.Pipe
	delivered int
	offers    int
}

func (h *hop) Deliver(context.Context, string, []event.Envelope) error {
	h.delivered++
	return nil
}

func (h *hop) Receive(ctx context.Context, _ event.Subscription, accept func(context.Context, []event.Envelope) error) error {
	for range h.offers {
		_ = accept(ctx, nil) // a real one would offer it again
	}
	return nil
}

func TestPipe(t *testing.T) {
	t.Parallel()
	const n = 60
	want := map[faulttest.Kind]int{faulttest.None: 1, faulttest.Delay: 1, faulttest.Lose: 1, faulttest.Repeat: 2}
	t.Run("Deliver", func(t *testing.T) {
		t.Parallel()
		p, far := newPlan(3), &hop{}
		pipe := p.Pipe(far)
		times, errs := make([]int, n), make([]error, n)
		for i := range n {
			before := far.delivered
			errs[i] = pipe.Deliver(t.Context(), "order", nil)
			times[i] = far.delivered - before
		}
		kinds(t, p, n, func(i int, k faulttest.Kind) {
			require.Equal(t, want[k], times[i], "%v", k)
			require.Equal(t, k == faulttest.Fail || k == faulttest.Lose, errs[i] != nil, "%v", k)
		})
	})
	t.Run("Receive", func(t *testing.T) {
		t.Parallel()
		p := newPlan(4)
		accepted := 0
		require.NoError(t, p.Pipe(&hop{offers: n}).Receive(t.Context(), event.Subscription{Subscriber: "order.x"}, func(context.Context, []event.Envelope) error {
			accepted++
			return nil
		}))
		expected := 0
		kinds(t, p, n, func(_ int, k faulttest.Kind) { expected += want[k] })
		require.Equal(t, expected, accepted)
	})
}
