package rpc_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"cleave/platform/fault"
	"cleave/platform/rpc"
	"cleave/platform/telemetry"
)

func TestMain(m *testing.M) {
	if _, err := telemetry.SetupTracing(context.Background(), "none", "", "", nil); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

func TestEdge_Oversize(t *testing.T) {
	t.Parallel()
	s := &service{unary: func(_ context.Context, in *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		return &testpb.SimpleResponse{Payload: &testpb.Payload{Body: make([]byte, in.GetResponseSize())}}, nil
	}}
	const overhead = 1 << 10
	onEachTransport(t, s, func(t *testing.T, client testpb.TestServiceClient) {
		fits := &testpb.SimpleRequest{ResponseSize: rpc.MaxMessage - overhead, Payload: &testpb.Payload{Body: make([]byte, rpc.MaxMessage-overhead)}}
		_, err := client.UnaryCall(t.Context(), fits)
		require.NoError(t, err)
		for name, in := range map[string]*testpb.SimpleRequest{
			"Request":  {Payload: &testpb.Payload{Body: make([]byte, rpc.MaxMessage)}},
			"Response": {ResponseSize: rpc.MaxMessage},
		} {
			_, err := client.UnaryCall(t.Context(), in)
			require.Equal(t, fault.Exhausted, fault.KindOf(err), name)
			require.Equal(t, "exhausted", fault.CodeOf(err), name)
			require.Equal(t, "too many or too large requests", fault.From(err).Message, name)
		}
	})
}

func TestEdge_NotUTF8(t *testing.T) {
	t.Parallel()
	s := &service{unary: func(_ context.Context, in *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		if in.GetFillUsername() {
			return &testpb.SimpleResponse{Username: "\xff"}, nil
		}
		return &testpb.SimpleResponse{}, nil
	}}
	onEachTransport(t, s, func(t *testing.T, client testpb.TestServiceClient) {
		for _, in := range []*testpb.SimpleRequest{{ResponseStatus: &testpb.EchoStatus{Message: "\xff"}}, {FillUsername: true}} {
			_, err := client.UnaryCall(t.Context(), in)
			require.Equal(t, fault.Internal, fault.KindOf(err))
			require.Equal(t, "internal error", fault.From(err).Message)
		}
	})
}

func TestEdge_NilMessages(t *testing.T) {
	t.Parallel()
	s := &service{unary: func(_ context.Context, in *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		if in.GetFillUsername() {
			return &testpb.SimpleResponse{Username: "u"}, nil
		}
		return nil, nil
	}}
	onEachTransport(t, s, func(t *testing.T, client testpb.TestServiceClient) {
		out, err := client.UnaryCall(t.Context(), nil)
		require.NoError(t, err, "a nil request is an empty one, and so is a nil response")
		require.Empty(t, out.GetUsername())
	})
}

func TestEdge_HandlersSeeNoTransport(t *testing.T) {
	t.Parallel()
	s := &service{unary: func(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		md, _ := metadata.FromIncomingContext(ctx)
		_, connected := peer.FromContext(ctx)
		if len(md) > 0 || connected || grpc.SetHeader(ctx, metadata.Pairs("a", "b")) == nil {
			return nil, errors.New("the transport shows")
		}
		return &testpb.SimpleResponse{}, nil
	}}
	onEachTransport(t, s, func(t *testing.T, client testpb.TestServiceClient) {
		_, err := client.UnaryCall(metadata.AppendToOutgoingContext(t.Context(), "x-own", "1"), &testpb.SimpleRequest{})
		require.NoError(t, err)
	})
}

func TestEdge_TraceCrosses(t *testing.T) {
	t.Parallel()
	want := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled})
	s := &service{unary: func(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		return &testpb.SimpleResponse{Username: telemetry.Traceparent(ctx), OauthScope: baggage.FromContext(ctx).String()}, nil
	}}
	onEachTransport(t, s, func(t *testing.T, client testpb.TestServiceClient) {
		member, err := baggage.NewMemberRaw("tenant", "a b")
		require.NoError(t, err)
		bag, err := baggage.New(member)
		require.NoError(t, err)
		ctx := baggage.ContextWithBaggage(trace.ContextWithSpanContext(t.Context(), want), bag)
		out, err := client.UnaryCall(ctx, &testpb.SimpleRequest{})
		require.NoError(t, err)
		require.Equal(t, telemetry.Traceparent(ctx), out.GetUsername())
		require.Equal(t, bag.String(), out.GetOauthScope())
		out, err = client.UnaryCall(t.Context(), &testpb.SimpleRequest{})
		require.NoError(t, err)
		require.Empty(t, out.GetUsername()+out.GetOauthScope())
	})
}

// The callee's context and those derived from it end when the callee has answered, and when the caller has given up.
func TestEdge_CalleesContextEnds(t *testing.T) {
	t.Parallel()
	derived := make(chan context.Context, 1)
	s := &service{unary: func(ctx context.Context, in *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		child, cancel := context.WithCancel(ctx)
		context.AfterFunc(child, cancel)
		derived <- child
		if in.GetFillUsername() {
			<-child.Done()
		}
		return &testpb.SimpleResponse{}, nil
	}}
	onEachTransport(t, s, func(t *testing.T, client testpb.TestServiceClient) {
		_, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{})
		require.NoError(t, err)
		ends(t, <-derived)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(20*time.Millisecond, cancel)
		_, err = client.UnaryCall(ctx, &testpb.SimpleRequest{FillUsername: true})
		require.Equal(t, fault.Canceled, fault.KindOf(err))
		ends(t, <-derived)
	})
}

func ends(t *testing.T, ctx context.Context) {
	t.Helper()
	select {
	case <-ctx.Done():
		require.Equal(t, context.Canceled, ctx.Err(), "and not only at the deadline")
	case <-time.After(10 * time.Second):
		t.Error("the callee's context goes on")
	}
}

// A callee that gives up at the deadline does so at the same moment as its caller: what it then says never counts.
func TestEdge_BothGiveUp(t *testing.T) {
	t.Parallel()
	s := &service{unary: func(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	onEachTransport(t, s, func(t *testing.T, client testpb.TestServiceClient) {
		for range 15 { // fewer than open the circuit breaker
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
			_, err := client.UnaryCall(ctx, &testpb.SimpleRequest{})
			cancel()
			require.Equal(t, fault.Timeout, fault.KindOf(err))
			require.ErrorContains(t, err, "UnaryCall: DeadlineExceeded: context deadline exceeded")
		}
	})
}

// Only in process: on a network the goroutine is the server's.
func TestChannel_CalleeExits(t *testing.T) {
	t.Parallel()
	c := rpc.NewInProcess(orders(t), slog.New(slog.DiscardHandler))
	testpb.RegisterTestServiceServer(c, &service{unary: func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		runtime.Goexit()
		return nil, nil
	}})
	_, err := testpb.NewTestServiceClient(rpc.NewEdge("order", "user", rpc.Local{}, c)).UnaryCall(t.Context(), &testpb.SimpleRequest{})
	require.Equal(t, fault.Internal, fault.KindOf(err))
}

// Something else may stand before the channel, as the faults of a test do: then the metadata carry what the edge sends.
func TestChannel_BehindAnotherConnection(t *testing.T) {
	t.Parallel()
	c := rpc.NewInProcess(orders(t), slog.New(slog.DiscardHandler))
	testpb.RegisterTestServiceServer(c, &service{unary: func(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		return &testpb.SimpleResponse{Username: telemetry.RequestID(ctx)}, nil
	}})
	client := testpb.NewTestServiceClient(rpc.NewEdge("order", "user", rpc.Local{}, struct{ grpc.ClientConnInterface }{c}))
	out, err := client.UnaryCall(telemetry.WithRequestID(t.Context(), "r-1"), &testpb.SimpleRequest{})
	require.NoError(t, err)
	require.Equal(t, "r-1", out.GetUsername())
	_, err = client.CacheableUnaryCall(t.Context(), &testpb.SimpleRequest{})
	require.Equal(t, "caller_denied", fault.CodeOf(err))
}
