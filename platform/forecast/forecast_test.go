package forecast_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cleave/platform/fault"
	"cleave/platform/forecast"
	"cleave/platform/traffic"
)

var modules = []string{"user", "order", "notification"}

func TestParse(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"user":                    "user|order,notification",
		"user,order":              "user,order|notification",
		"user|order":              "user|order|notification",
		"user|order,notification": "user|order,notification",
		" user | order ":          "user|order|notification",
	} {
		p, err := forecast.Parse(text, modules)
		require.NoError(t, err, text)
		require.Equal(t, want, p.String())
	}
	for text, says := range map[string]string{
		"":                        `names "", allowed: user, order, notification`,
		"users":                   `names "users", allowed: user, order, notification`,
		"user|user":               "names user twice",
		"user,order,notification": "leaves all modules in one process",
		"user|":                   `names ""`,
	} {
		_, err := forecast.Parse(text, modules)
		require.Equal(t, fault.Invalid, fault.KindOf(err), text)
		require.ErrorContains(t, err, says)
	}
}

const (
	reserve = "/cleave.user.v1.UserService/ReserveCredit"
	lookup  = "/cleave.user.v1.UserService/GetMany"
	deep    = "/cleave.notification.v1.NotificationService/Count"
)

// shop is 100 requests: 80 orders placed, each of which starts a saga that
// calls twice and publishes an event that notification handles, and 20 lists
// that call user, which itself asks notification each second time.
func shop() traffic.Snapshot {
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	took := traffic.Distribution{Buckets: []traffic.Bucket{{From: 4096, Count: 80}}}
	return traffic.Snapshot{
		Since: at, At: at.Add(10 * time.Second), CPU: 50_000, Pipe: "nats", Modules: modules,
		Calls: []traffic.Calls{
			{Caller: "order", Callee: "user", Method: lookup, Calls: 60, Sized: 2, RequestBytes: 40, ReplyBytes: 360},
			{Caller: "order", Callee: "user", Method: reserve, Calls: 160, Sized: 10, RequestBytes: 500, ReplyBytes: 0},
			{Caller: "user", Callee: "notification", Method: deep, Calls: 30},
		},
		Sources: []traffic.Activity{
			{Kind: traffic.Handler, Module: "notification", Name: "notification.tell", Event: "Confirmed", Runs: 40},
			{Kind: traffic.Method, Module: "user", Name: lookup, Runs: 60, Calls: []traffic.Count{{Module: "notification", Name: deep, Count: 30}}},
			{Kind: traffic.Operation, Module: "order", Name: "listOrders", Runs: 20, OutBytes: 2000, Calls: []traffic.Count{{Module: "user", Name: lookup, Count: 60}}},
			{Kind: traffic.Operation, Module: "order", Name: "placeOrder", Runs: 80, Took: took, Starts: []traffic.Count{{Module: "order", Name: "place_order", Count: 80}}},
			{
				Kind: traffic.Saga, Module: "order", Name: "place_order", Runs: 80, Calls: []traffic.Count{{Module: "user", Name: reserve, Count: 160}},
				Publishes: []traffic.Events{{Type: "Confirmed", Count: 80, Bytes: 800}},
			},
		},
	}
}

var hops = forecast.Hops{
	Call:  forecast.Cost{P50: 100 * time.Microsecond, P99: 300 * time.Microsecond, CPU: 80 * time.Microsecond},
	Front: forecast.Cost{P50: 200 * time.Microsecond, P99: 500 * time.Microsecond, CPU: 150 * time.Microsecond},
}

func plan(t *testing.T, split string, o forecast.Options) forecast.Forecast {
	t.Helper()
	p, err := forecast.Parse(split, modules)
	require.NoError(t, err)
	f, err := forecast.Make(shop(), p, hops, o)
	require.NoError(t, err)
	return f
}

func TestMake_CallsBytesAndLatency(t *testing.T) {
	t.Parallel()
	f := plan(t, "user", forecast.Options{})
	require.Equal(t, "order,notification", f.Front, "most requests are answered there")
	require.EqualValues(t, 100, f.Requests)
	list, place := f.Operations[0], f.Operations[1]
	require.Equal(t, "listOrders", list.Name)
	require.InDelta(t, 4.5, list.Calls, 1e-9, "three to user, and each second of them one from there")
	require.Zero(t, list.LaterCalls)
	require.InDelta(t, 3*200, list.Bytes, 1e-9)
	require.Equal(t, 450*time.Microsecond, list.AddedP50)
	require.InDelta(t, 450+200*2.1213, list.AddedP99.Microseconds(), 1)
	require.Equal(t, 360*time.Microsecond, list.AddedCPU)

	require.Zero(t, place.Calls)
	require.Zero(t, place.AddedP50)
	require.InDelta(t, 2, place.LaterCalls, 1e-9)
	require.Equal(t, 200*time.Microsecond, place.AddedLater)
	require.Zero(t, place.Events, "order and notification stay together")
	require.InDelta(t, 4300, place.P50.Microseconds(), 300)

	require.Len(t, f.Edges, 3)
	require.InDelta(t, 1.6, f.Edges[1].PerRequest, 1e-9)
	require.InDelta(t, 50, f.Edges[1].Bytes, 1e-9)
	require.Empty(t, f.Events)
	require.Equal(t, []forecast.Saga{{Module: "order", Name: "place_order", Runs: 80, Calls: 2, To: []string{"user"}}}, f.Sagas)
	require.InDelta(t, 0.5, f.CPU.Now, 1e-9)
	require.InDelta(t, 250*80e-6*10, f.CPU.Added, 1e-9, "250 calls in 100 requests")
}

func TestMake_EventsCross(t *testing.T) {
	t.Parallel()
	f := plan(t, "notification", forecast.Options{})
	require.Len(t, f.Events, 1)
	require.Equal(t, "notification.tell", f.Events[0].Subscriber)
	require.InDelta(t, 0.4, f.Events[0].PerRequest, 1e-9, "half of the 80 reached it")
	place := f.Operations[1]
	require.InDelta(t, 0.5, place.Events, 1e-9)
	require.NotContains(t, f.Verdict.Words, "broker", "the snapshot is of a process with one")
	s := shop()
	s.Pipe = "inproc"
	p, err := forecast.Parse("notification", modules)
	require.NoError(t, err)
	f, err = forecast.Make(s, p, hops, forecast.Options{})
	require.NoError(t, err)
	require.Contains(t, f.Verdict.Words, "1 subscriptions cross processes and need a broker")
}

func TestMake_Front(t *testing.T) {
	t.Parallel()
	for front, want := range map[string]struct {
		name   string
		handed bool
	}{"order": {"order,notification", false}, "user": {"user", true}, forecast.Gateway: {"gateway", true}, forecast.Direct: {"direct", false}} {
		f := plan(t, "user", forecast.Options{Front: front})
		require.Equal(t, want.name, f.Front)
		place := f.Operations[1]
		require.Equal(t, want.handed, place.Handed, front)
		if want.handed {
			require.Equal(t, 200*time.Microsecond, place.AddedP50)
			require.Equal(t, 500*time.Microsecond, place.AddedP99)
			require.InDelta(t, 250*80e-6*10+0.15, f.CPU.Added, 1e-9)
			require.InDelta(t, 3*200+100, f.Operations[0].Bytes, 1e-9, "the answer travels too")
		}
	}
	p, err := forecast.Parse("user", modules)
	require.NoError(t, err)
	_, err = forecast.Make(shop(), p, hops, forecast.Options{Front: "mail"})
	require.EqualError(t, err, `requests cannot arrive at "mail", allowed: a module, direct or gateway`)
}

func TestMake_Budget(t *testing.T) {
	t.Parallel()
	f := plan(t, "user", forecast.Options{Budget: 4.5})
	require.Empty(t, f.Verdict.Over)
	require.Contains(t, f.Verdict.Words, "Costly: it takes 40 % more")
	f = plan(t, "user", forecast.Options{Budget: 4})
	require.Equal(t, []string{"order.listOrders"}, f.Verdict.Over)
	require.Contains(t, f.Verdict.Words, "order.listOrders with 4.5 calls to other processes per request where 4 are allowed")
	f = plan(t, "user", forecast.Options{})
	require.Contains(t, f.Verdict.Words, "where 3 are allowed")
	require.Empty(t, f.Verdict.Over, "no budget was given")
}

func TestMake_NothingCounted(t *testing.T) {
	t.Parallel()
	p, err := forecast.Parse("user", modules)
	require.NoError(t, err)
	_, err = forecast.Make(traffic.Snapshot{}, p, hops, forecast.Options{})
	require.Equal(t, fault.Invalid, fault.KindOf(err))
}

// Two handlers whose events cause each other end the tracing, not the program.
func TestMake_EventsInACircle(t *testing.T) {
	t.Parallel()
	s := shop()
	for i, a := range s.Sources {
		if a.Kind == traffic.Handler {
			s.Sources[i].Runs = 1000
			s.Sources[i].Publishes = []traffic.Events{{Type: "Confirmed", Count: 1000}}
		}
	}
	p, err := forecast.Parse("notification", modules)
	require.NoError(t, err)
	_, err = forecast.Make(s, p, hops, forecast.Options{})
	require.NoError(t, err)
}

// A calibration sends what was counted, at the pace of it.
func TestLike(t *testing.T) {
	t.Parallel()
	s := shop()
	c := forecast.Like(s, time.Second)
	require.Equal(t, forecast.Sizes{Request: 45, Reply: 30, Answer: 20}, c.Sizes)
	require.Equal(t, 20*time.Millisecond, c.Every, "ten requests a second are slower than that")
	require.Equal(t, 50, c.Calls)
	s.At = s.Since.Add(time.Second)
	require.Equal(t, 10*time.Millisecond, forecast.Like(s, time.Second).Every)
	s.At = s.Since.Add(time.Millisecond)
	require.Equal(t, 2*time.Millisecond, forecast.Like(s, time.Second).Every)
}
