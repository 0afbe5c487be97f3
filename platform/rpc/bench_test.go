package rpc_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"cleave/platform/auth"
	"cleave/platform/metrics"
	"cleave/platform/rpc"
	"cleave/platform/telemetry"
	"cleave/platform/traffic"
)

// benchCalls makes small calls for a customer over conn, with sampling off.
func benchCalls(b *testing.B, conn grpc.ClientConnInterface) {
	b.Helper()
	client := testpb.NewTestServiceClient(conn)
	ctx := telemetry.WithRequestID(b.Context(), "0198a3b0-5e7c-7aaa-8bbb-1234567890ab")
	ctx = auth.With(ctx, auth.Principal{Issuer: "https://cleave.example", Subject: "u1", Session: "s1", Roles: []string{"customer"}})
	in := &testpb.SimpleRequest{Payload: &testpb.Payload{Body: []byte("0198a3b0-5e7c-7aaa-8bbb-1234567890ab")}}
	_, err := client.UnaryCall(ctx, in)
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := client.UnaryCall(ctx, in); err != nil {
			b.Fatal(err)
		}
	}
}

func benchService() *service {
	return &service{unary: func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		return &testpb.SimpleResponse{Username: "u1"}, nil
	}}
}

// counted is the edge with the counters that it has in a process.
func counted(e *rpc.Edge) *rpc.Edge {
	e.Observe(metrics.New(""))
	e.Count(traffic.New(time.Now).Edge("order", "user"))
	return e
}

func BenchmarkEdge_InProcess(b *testing.B) {
	c := rpc.NewInProcess(orders(b), slog.New(slog.DiscardHandler))
	testpb.RegisterTestServiceServer(c, benchService())
	benchCalls(b, counted(rpc.NewEdge("order", "user", rpc.Local{}, c)))
}
