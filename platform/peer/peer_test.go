package peer_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"cleave/platform/fault"
	"cleave/platform/nettest"
	"cleave/platform/peer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// replica is a process that serves the module user, and counts the calls that it gets.
type replica struct {
	testpb.UnimplementedTestServiceServer
	addr   string
	server *grpc.Server
	health *health.Server
	calls  atomic.Int64
}

func (r *replica) EmptyCall(context.Context, *testpb.Empty) (*testpb.Empty, error) {
	r.calls.Add(1)
	return &testpb.Empty{}, nil
}

func (r *replica) UnaryCall(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	return &testpb.SimpleResponse{Username: "u1"}, nil
}

func (r *replica) StreamingOutputCall(_ *testpb.StreamingOutputCallRequest, s testpb.TestService_StreamingOutputCallServer) error {
	for range 3 {
		if err := s.Send(&testpb.StreamingOutputCallResponse{}); err != nil {
			return err
		}
	}
	return nil
}

// serve starts a replica at addr, where port 0 means any, with what register adds.
func serve(t *testing.T, addr string, register func(*grpc.Server), o ...grpc.ServerOption) *replica {
	t.Helper()
	r := &replica{server: grpc.NewServer(append(peer.ServerOptions(), o...)...), health: health.NewServer()}
	l, err := net.Listen("tcp", addr)
	require.NoError(t, err)
	r.addr = l.Addr().String()
	r.health.SetServingStatus("user", healthpb.HealthCheckResponse_SERVING)
	healthpb.RegisterHealthServer(r.server, r.health)
	testpb.RegisterTestServiceServer(r.server, r)
	if register != nil {
		register(r.server)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = r.server.Serve(l)
	}()
	t.Cleanup(func() { r.server.Stop(); <-done })
	return r
}

func dial(t *testing.T, o peer.Options) *peer.Peer {
	t.Helper()
	o.Module = "user"
	if o.Credentials == nil {
		o.Credentials = insecure.NewCredentials()
	}
	p, err := peer.Dial(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	return p
}

func call(t *testing.T, p *peer.Peer) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err := testpb.NewTestServiceClient(p).EmptyCall(ctx, &testpb.Empty{})
	return err
}

func ready(t *testing.T, p *peer.Peer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	require.NoError(t, p.Ready(ctx))
}

// reaches waits until calls arrive at each of the replicas.
func reaches(t *testing.T, p *peer.Peer, replicas ...*replica) {
	t.Helper()
	before := make([]int64, len(replicas))
	for i, r := range replicas {
		before[i] = r.calls.Load()
	}
	require.Eventually(t, func() bool {
		if call(t, p) != nil {
			return false
		}
		for i, r := range replicas {
			if r.calls.Load() == before[i] {
				return false
			}
		}
		return true
	}, 20*time.Second, 5*time.Millisecond)
}

func TestPeer_Balances(t *testing.T) {
	t.Parallel()
	a, b := serve(t, nettest.FreeAddress(t), nil), serve(t, nettest.FreeAddress(t), nil)
	p := dial(t, peer.Options{Target: a.addr + ", " + b.addr})
	reaches(t, p, a, b)
	before, beforeB := a.calls.Load(), b.calls.Load()
	for range 10 {
		require.NoError(t, call(t, p))
	}
	require.EqualValues(t, 5, a.calls.Load()-before)
	require.EqualValues(t, 5, b.calls.Load()-beforeB)
	s := p.State()
	require.Equal(t, peer.Ready, s.Status)
	require.Empty(t, s.Error)
	require.Len(t, s.Addresses, 2)
	for _, x := range s.Addresses {
		require.Equal(t, peer.Serving, x.Health)
	}
}

func TestPeer_ReplicaDiesAndReturns(t *testing.T) {
	t.Parallel()
	a, b := serve(t, nettest.FreeAddress(t), nil), serve(t, nettest.FreeAddress(t), nil)
	p := dial(t, peer.Options{Target: a.addr + "," + b.addr})
	reaches(t, p, a, b)
	a.server.Stop()
	require.Eventually(t, func() bool { return state(p, a.addr).Error == "connection refused" }, 20*time.Second, 5*time.Millisecond)
	for range 10 {
		require.NoError(t, call(t, p), "the other one serves")
	}
	require.Equal(t, peer.Ready, p.State().Status)
	require.Equal(t, peer.Unreachable, state(p, a.addr).Health)
	again := serve(t, a.addr, nil)
	reaches(t, p, again)
	require.Equal(t, peer.Serving, state(p, a.addr).Health)
}

func state(p *peer.Peer, addr string) peer.Address {
	for _, a := range p.State().Addresses {
		if a.Addr == addr {
			return a
		}
	}
	return peer.Address{}
}

func TestPeer_HealthDecides(t *testing.T) {
	t.Parallel()
	a, b := serve(t, nettest.FreeAddress(t), nil), serve(t, nettest.FreeAddress(t), nil)
	p := dial(t, peer.Options{Target: a.addr + "," + b.addr})
	reaches(t, p, a, b)
	a.health.SetServingStatus("user", healthpb.HealthCheckResponse_NOT_SERVING)
	require.Eventually(t, func() bool {
		before := a.calls.Load()
		return call(t, p) == nil && invoke(t, p, "/grpc.testing.TestService/EmptyCall") == nil && a.calls.Load() == before
	}, 20*time.Second, 5*time.Millisecond)

	b.health.Shutdown()
	require.Eventually(t, func() bool { return p.State().Status == peer.Failing }, 20*time.Second, 5*time.Millisecond)
	require.Contains(t, p.State().Error, "does not say that it serves user")
	require.Equal(t, codes.Unavailable, status.Code(call(t, p)))
	a.health.SetServingStatus("user", healthpb.HealthCheckResponse_SERVING)
	ready(t, p)
	require.NoError(t, call(t, p))
}

func TestPeer_NoReplica(t *testing.T) {
	t.Parallel()
	gone := nettest.FreeAddress(t)
	p := dial(t, peer.Options{Target: gone})
	require.Equal(t, codes.Unavailable, status.Code(call(t, p)), "long before the deadline")
	require.Eventually(t, func() bool { return p.State().Status == peer.Failing }, 20*time.Second, 5*time.Millisecond)
	require.Equal(t, "connection refused", p.State().Error)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	err := p.Ready(ctx)
	require.Equal(t, "peer_unavailable", fault.CodeOf(err))
	require.EqualError(t, err, "module user at "+gone+" is failing: connection refused")
}

func TestPeer_Streams(t *testing.T) {
	t.Parallel()
	p := dial(t, peer.Options{Target: serve(t, nettest.FreeAddress(t), nil).addr})
	s, err := testpb.NewTestServiceClient(p).StreamingOutputCall(t.Context(), &testpb.StreamingOutputCallRequest{})
	require.NoError(t, err)
	for range 3 {
		_, err := s.Recv()
		require.NoError(t, err)
	}
}

func TestDial_Target(t *testing.T) {
	t.Parallel()
	for target, want := range map[string]string{
		"":                      `the target "" of module user is empty; want HOST:PORT`,
		"host":                  `the target "host" of module user is no list of HOST:PORT: "host" has no port`,
		"a:1,b":                 `the target "a:1,b" of module user is no list of HOST:PORT: "b" has no port`,
		"a:1,":                  `the target "a:1," of module user is no list of HOST:PORT: "" has no port`,
		":9000":                 `the target ":9000" of module user is no list of HOST:PORT: ":9000" has no host`,
		"host:http":             `the target "host:http" of module user is no list of HOST:PORT: "host:http" has a port that is not 1 to 65535`,
		"host:0":                `the target "host:0" of module user is no list of HOST:PORT: "host:0" has a port that is not 1 to 65535`,
		"dns://server/x:9000":   `the target "dns://server/x:9000" of module user names a DNS server; want dns:///NAME:PORT with three slashes`,
		"dns:///user":           `the target "dns:///user" of module user is not dns:///NAME:PORT: "user" has no port`,
		"http://user:9000":      `the target "http://user:9000" of module user has the scheme "http", which this binary does not know; it knows HOST:PORT, dns:///NAME:PORT`,
		"consul://agent/user":   `the target "consul://agent/user" of module user has the scheme "consul", which this binary does not know; it knows HOST:PORT, dns:///NAME:PORT`,
		"unix:///run/user.sock": `the target "unix:///run/user.sock" of module user has the scheme "unix", which this binary does not know; it knows HOST:PORT, dns:///NAME:PORT`,
	} {
		_, err := peer.Dial(peer.Options{Module: "user", Target: target, Credentials: insecure.NewCredentials()})
		require.EqualError(t, err, want)
		require.Equal(t, fault.Invalid, fault.KindOf(err))
		require.Equal(t, "peer_target", fault.CodeOf(err))
	}
}
