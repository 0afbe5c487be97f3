package traffic_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"cleave/platform/traffic"
)

func TestRecorder(t *testing.T) {
	t.Parallel()
	r := traffic.New(time.Now)
	edge := r.Edge("order", "user")
	require.Same(t, edge, r.Edge("order", "user"))
	place, pay := r.Operation("order", "placeOrder"), r.Saga("order", "place_order")
	const method = "/cleave.user.v1.UserService/ReserveCredit"
	for range 4 {
		ctx := traffic.With(context.Background(), place)
		require.Same(t, place, traffic.From(ctx))
		place.Started(pay)
		place.Published("cleave.order.v1.OrderPlaced", 40)
		place.Ran(3*time.Millisecond, 100, 300)
		edge.Called(traffic.With(ctx, pay), method, wrapperspb.Bytes(make([]byte, 50)), wrapperspb.Bytes(nil), time.Millisecond, nil)
	}
	edge.Called(context.Background(), method, nil, nil, time.Millisecond, errors.New("no"))

	s := r.Snapshot()
	require.Positive(t, s.CPU)
	require.Len(t, s.Calls, 1)
	c := s.Calls[0]
	require.Equal(t, []any{"order", "user", method, int64(5), int64(1), int64(1), int64(52), int64(0)},
		[]any{c.Caller, c.Callee, c.Method, c.Calls, c.Faults, c.Sized, c.RequestBytes, c.ReplyBytes})
	require.InEpsilon(t, time.Millisecond, c.Took.Quantile(0.5), 0.07)
	require.Len(t, s.Sources, 3)
	background, operation, saga := s.Sources[0], s.Sources[1], s.Sources[2]
	require.Equal(t, []traffic.Count{{Module: "user", Name: method, Count: 1}}, background.Calls)
	require.EqualValues(t, 4, operation.Runs)
	require.Empty(t, operation.Calls)
	require.Equal(t, []traffic.Count{{Module: "order", Name: "place_order", Count: 4}}, operation.Starts)
	require.Equal(t, []traffic.Events{{Type: "cleave.order.v1.OrderPlaced", Count: 4, Bytes: 160}}, operation.Publishes)
	require.EqualValues(t, 4, saga.Runs)
	require.Equal(t, []traffic.Count{{Module: "user", Name: method, Count: 4}}, saga.Calls)

	text, err := json.Marshal(s)
	require.NoError(t, err)
	var again traffic.Snapshot
	require.NoError(t, json.Unmarshal(text, &again))

	place.Ran(time.Second, 1, 2)
	since := r.Snapshot().Minus(again)
	require.Empty(t, since.Calls)
	require.Len(t, since.Sources, 1)
	require.EqualValues(t, 1, since.Sources[0].Runs)
	require.EqualValues(t, 2, since.Sources[0].OutBytes)
	require.Empty(t, since.Sources[0].Starts)
	require.InEpsilon(t, time.Second, since.Sources[0].Took.Quantile(0.5), 0.07)
}

// A program without a recorder counts nothing and fails nowhere.
func TestRecorder_None(t *testing.T) {
	t.Parallel()
	var r *traffic.Recorder
	s := r.Operation("order", "placeOrder")
	require.Nil(t, s)
	require.Equal(t, context.Background(), traffic.With(context.Background(), s))
	s.Ran(1, 1, 1)
	s.Published("x", 1)
	s.Started(r.Saga("order", "place_order"))
	r.Edge("order", "user").Called(context.Background(), "/x", nil, nil, 1, nil)
}

func TestDistribution_Quantile(t *testing.T) {
	t.Parallel()
	var h traffic.Histogram
	require.Zero(t, h.Distribution().Quantile(0.5))
	for i := range 10_000 {
		h.Observe(time.Duration(i) * time.Microsecond)
	}
	d := h.Distribution()
	for _, q := range []float64{0.01, 0.5, 0.99} {
		require.InEpsilon(t, q*10_000, d.Quantile(q).Microseconds(), 0.07, q)
	}
	h.Observe(-time.Second)
	h.Observe(time.Hour)
	require.Positive(t, h.Distribution().Quantile(1))
}

// BenchmarkCalled is what counting adds to a call.
func BenchmarkCalled(b *testing.B) {
	r := traffic.New(time.Now)
	edge := r.Edge("order", "user")
	ctx := traffic.With(context.Background(), r.Saga("order", "place_order"))
	request, reply := wrapperspb.String("0197a5c2-7b1e-7c3a-9d2f-3b8e5a6c1d20"), wrapperspb.String("")
	for b.Loop() {
		edge.Called(ctx, "/cleave.user.v1.UserService/ReserveCredit", request, reply, 5*time.Microsecond, nil)
	}
}
