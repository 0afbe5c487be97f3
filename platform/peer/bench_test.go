package peer_test

import (
	"context"
	"log/slog"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"cleave/platform/auth"
	"cleave/platform/metrics"
	"cleave/platform/peer"
	"cleave/platform/rpc"
	"cleave/platform/telemetry"
	"cleave/platform/traffic"
	"cleave/platform/trust"
	"cleave/platform/trust/authority"
)

// processes are the identities of one that runs the module order and of one that runs user.
func processes(b *testing.B) (order, user *trust.Identity) {
	b.Helper()
	a, err := authority.Open(b.TempDir(), "cleave.test", time.Now)
	require.NoError(b, err)
	load := func(name string) *trust.Identity {
		f, err := a.Issue(name, []string{name})
		require.NoError(b, err)
		i, err := trust.Load(f.Cert, f.Key, f.CA, slog.New(slog.DiscardHandler), time.Now)
		require.NoError(b, err)
		return i
	}
	return load("order"), load("user")
}

// listen serves and returns the address.
func listen(b *testing.B, server *grpc.Server) string {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	b.Cleanup(func() { server.Stop(); <-done })
	return l.Addr().String()
}

// calls makes small calls for a customer over conn, with sampling off.
func calls(b *testing.B, conn grpc.ClientConnInterface) {
	b.Helper()
	_, err := telemetry.SetupTracing(b.Context(), "none", "", "", nil)
	require.NoError(b, err)
	ctx := telemetry.WithRequestID(b.Context(), "0198a3b0-5e7c-7aaa-8bbb-1234567890ab")
	ctx = auth.With(ctx, auth.Principal{Issuer: "https://cleave.example", Subject: "0198a3b0-5e7c-7aaa-8bbb-1234567890ab", Session: "s1", Roles: []string{"customer"}})
	client := testpb.NewTestServiceClient(conn)
	in := &testpb.SimpleRequest{Payload: &testpb.Payload{Body: []byte("0198a3b0-5e7c-7aaa-8bbb-1234567890ab")}}
	call := func() {
		ctx, cancel := context.WithTimeout(ctx, rpc.DefaultTimeout)
		defer cancel()
		if _, err := client.UnaryCall(ctx, in); err != nil {
			b.Fatal(err)
		}
	}
	call()
	b.ReportAllocs()
	before := processorTime(b)
	for b.Loop() {
		call()
	}
	b.ReportMetric(float64((processorTime(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
}

// processorTime is what this process has used. Unlike the time on the clock it says something on a busy machine, too.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkEdge_Loopback is a call from one process to another, which serve and count it as those of platform/module do.
func BenchmarkEdge_Loopback(b *testing.B) {
	order, user := processes(b)
	policy, err := auth.NewPolicy(map[string]string{"user": "rpc, order, grpc.testing.TestService/UnaryCall"})
	require.NoError(b, err)
	services := rpc.NewServices()
	services.Add("user", rpc.ServerInterceptor(user.Calls("user"), policy, slog.New(slog.DiscardHandler)), func(to grpc.ServiceRegistrar) {
		testpb.RegisterTestServiceServer(traffic.New(time.Now).Registrar("user", to), &replica{})
	})
	server := grpc.NewServer(append(append(peer.ServerOptions(), trust.Guard()...), grpc.Creds(user.ServerCredentials()), grpc.UnknownServiceHandler(services.Serve))...)
	healthy := health.NewServer()
	healthy.SetServingStatus("user", grpc_health_v1.HealthCheckResponse_SERVING)
	grpc_health_v1.RegisterHealthServer(server, healthy)
	words, err := order.CallCredentials("user")
	require.NoError(b, err)
	p, err := peer.Dial(peer.Options{Module: "user", Target: listen(b, server), Credentials: order.ClientCredentials("user"), PerCall: words})
	require.NoError(b, err)
	b.Cleanup(func() { _ = p.Close() })
	e := rpc.NewEdge("order", "user", order.Calls("user"), p.Edge("order"))
	e.Observe(metrics.New(""))
	e.Count(traffic.New(time.Now).Edge("order", "user"))
	calls(b, e)
}

// BenchmarkBare_Loopback is grpc-go alone, as it is without options, between the same certificates.
func BenchmarkBare_Loopback(b *testing.B) {
	order, user := processes(b)
	server := grpc.NewServer(grpc.Creds(user.ServerCredentials()))
	testpb.RegisterTestServiceServer(server, &replica{})
	conn, err := grpc.NewClient(listen(b, server), grpc.WithTransportCredentials(order.ClientCredentials("user")))
	require.NoError(b, err)
	b.Cleanup(func() { _ = conn.Close() })
	calls(b, conn)
}
