package peer_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/emptypb"

	"cleave/platform/auth"
	"cleave/platform/fault"
	"cleave/platform/nettest"
	"cleave/platform/peer"
	"cleave/platform/rpc"
)

const (
	repeatable = "/cleave.user.v1.Accounts/Read"
	once       = "/cleave.user.v1.Accounts/Write"
)

// contracts is a module's contract with a method that may be repeated and one that may not.
func contracts(t *testing.T) *protoregistry.Files {
	t.Helper()
	method := func(name string, o *descriptorpb.MethodOptions) *descriptorpb.MethodDescriptorProto {
		return &descriptorpb.MethodDescriptorProto{
			Name: &name, Options: o, InputType: proto.String(".google.protobuf.Empty"), OutputType: proto.String(".google.protobuf.Empty"),
		}
	}
	f, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("accounts.proto"), Package: proto.String("cleave.user.v1"), Syntax: proto.String("proto3"),
		Dependency: []string{"google/protobuf/empty.proto"},
		Service: []*descriptorpb.ServiceDescriptorProto{{Name: proto.String("Accounts"), Method: []*descriptorpb.MethodDescriptorProto{
			method("Read", &descriptorpb.MethodOptions{IdempotencyLevel: descriptorpb.MethodOptions_NO_SIDE_EFFECTS.Enum()}),
			method("Write", nil),
		}}},
	}, protoregistry.GlobalFiles)
	require.NoError(t, err)
	files := new(protoregistry.Files)
	require.NoError(t, files.RegisterFile(f))
	return files
}

// accounts answers both methods with handle.
type accounts struct {
	calls  atomic.Int64
	handle func(context.Context) error
}

// open lets everyone call everything.
type open struct{}

func (open) MayCall(string, string) (permission string, ok bool) { return "", true }
func (open) Decide(auth.Principal, string) auth.Decision         { return auth.Any }

// serveAccounts starts a replica that serves the contract, too, as a module's process does.
func serveAccounts(t *testing.T, handle func(context.Context) error) (*replica, *accounts) {
	t.Helper()
	a := &accounts{handle: handle}
	desc := func(name string) grpc.MethodDesc {
		return grpc.MethodDesc{MethodName: name, Handler: func(_ any, ctx context.Context, decode func(any) error, i grpc.UnaryServerInterceptor) (any, error) {
			a.calls.Add(1)
			if err := decode(new(emptypb.Empty)); err != nil {
				return nil, err
			}
			return i(ctx, new(emptypb.Empty), &grpc.UnaryServerInfo{FullMethod: "/cleave.user.v1.Accounts/" + name}, func(ctx context.Context, _ any) (any, error) {
				return new(emptypb.Empty), a.handle(ctx)
			})
		}}
	}
	interceptor := grpc.UnaryInterceptor(rpc.ServerInterceptor(rpc.Local{}, open{}, slog.New(slog.DiscardHandler)))
	return serve(t, nettest.FreeAddress(t), func(s *grpc.Server) {
		s.RegisterService(&grpc.ServiceDesc{
			ServiceName: "cleave.user.v1.Accounts", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{desc("Read"), desc("Write")},
		}, a)
	}, interceptor), a
}

func invoke(t *testing.T, c grpc.ClientConnInterface, method string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return c.Invoke(ctx, method, new(emptypb.Empty), new(emptypb.Empty))
}

func TestPeer_KilledInFlight(t *testing.T) {
	t.Parallel()
	for method, want := range map[string]codes.Code{repeatable: codes.OK, once: codes.Unavailable} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			arrived, release := make(chan struct{}, 20), make(chan struct{})
			hang := func(ctx context.Context) error {
				arrived <- struct{}{}
				select {
				case <-ctx.Done():
				case <-release:
				}
				return nil
			}
			a, _ := serveAccounts(t, hang)
			b, other := serveAccounts(t, hang)
			p := dial(t, peer.Options{Target: a.addr + "," + b.addr, Contracts: contracts(t)})
			reaches(t, p, a, b)
			var calls sync.WaitGroup
			results := make(chan error, 10)
			for range cap(results) {
				calls.Go(func() { results <- invoke(t, p, method) })
			}
			for range cap(results) {
				<-arrived
			}
			require.EqualValues(t, 5, other.calls.Load())
			a.server.Stop()
			close(release)
			calls.Wait()
			close(results)
			got := map[codes.Code]int{}
			for err := range results {
				got[status.Code(err)]++
			}
			if want == codes.OK {
				require.Equal(t, map[codes.Code]int{codes.OK: 10}, got)
				return
			}
			require.Equal(t, map[codes.Code]int{codes.OK: 5, codes.Unavailable: 5}, got, "a write that may have happened is not repeated")
		})
	}
}

func TestPeer_RetriesAreBounded(t *testing.T) {
	t.Parallel()
	a, answered := serveAccounts(t, func(context.Context) error { return fault.New(fault.Unavailable, "", "busy") })
	p := dial(t, peer.Options{Target: a.addr, Contracts: contracts(t)})
	ready(t, p)
	require.Equal(t, codes.Unavailable, status.Code(invoke(t, p, repeatable)))
	require.EqualValues(t, peer.DefaultLimits().Attempts, answered.calls.Load())
	require.Equal(t, codes.Unavailable, status.Code(invoke(t, p, once)))
	require.EqualValues(t, peer.DefaultLimits().Attempts+1, answered.calls.Load())
	for range 50 {
		require.Error(t, invoke(t, p, repeatable))
	}
	before := answered.calls.Load()
	for range 10 {
		require.Error(t, invoke(t, p, repeatable))
	}
	require.EqualValues(t, 10, answered.calls.Load()-before, "the budget is used up")

	fatal, answered := serveAccounts(t, func(context.Context) error { return errors.New("defect") })
	p = dial(t, peer.Options{Target: fatal.addr, Contracts: contracts(t)})
	require.Equal(t, codes.Internal, status.Code(invoke(t, p, repeatable)))
	require.EqualValues(t, 1, answered.calls.Load(), "only UNAVAILABLE is repeated")
}

func TestEdge_Breaker(t *testing.T) {
	t.Parallel()
	var stuck atomic.Bool
	release := make(chan struct{})
	a, answered := serveAccounts(t, func(context.Context) error {
		if stuck.Load() {
			<-release // whatever the deadline
		}
		return nil
	})
	limits := peer.DefaultLimits()
	limits.BreakAfter, limits.BreakFor = 3, 200*time.Millisecond
	p := dial(t, peer.Options{Target: a.addr, Contracts: contracts(t), Limits: limits})
	ready(t, p)
	edge, sibling := p.Edge("order"), p.Edge("notification")
	require.Same(t, edge, p.Edge("order"))
	require.NoError(t, invoke(t, edge, once))
	stuck.Store(true)
	for range limits.BreakAfter {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		require.Equal(t, codes.DeadlineExceeded, status.Code(edge.Invoke(ctx, once, new(emptypb.Empty), new(emptypb.Empty))))
		cancel()
	}
	before := answered.calls.Load()
	err := invoke(t, edge, once)
	require.Equal(t, fault.Unavailable, fault.KindOf(err))
	require.Equal(t, "edge_open", fault.CodeOf(err))
	require.Equal(t, before, answered.calls.Load(), "nobody was asked")
	require.Equal(t, []peer.Breaker{{Caller: "order", State: "open"}, {Caller: "notification", State: "closed"}}, p.State().Edges)
	err = invoke(t, rpc.NewEdge("order", "user", rpc.Local{}, edge), once)
	require.Equal(t, "edge_open", fault.CodeOf(err), "also for the module that calls")
	stuck.Store(false)
	close(release)
	require.NoError(t, invoke(t, sibling, once), "another module's edge")
	require.Eventually(t, func() bool { return invoke(t, edge, once) == nil }, 20*time.Second, 5*time.Millisecond)
	require.Equal(t, "closed", p.State().Edges[0].State)
}

func TestEdge_BreakerCountsNoFaults(t *testing.T) {
	t.Parallel()
	var answer atomic.Pointer[fault.Error]
	a, _ := serveAccounts(t, func(context.Context) error { return answer.Load() })
	limits := peer.DefaultLimits()
	limits.BreakAfter, limits.Attempts = 3, 1
	p := dial(t, peer.Options{Target: a.addr, Contracts: contracts(t), Limits: limits})
	ready(t, p)
	edge := p.Edge("order")
	for _, kind := range []fault.Kind{fault.Unavailable, fault.Timeout, fault.Internal, fault.NotFound, fault.Exhausted} {
		answer.Store(fault.New(kind, "", "no"))
		for range limits.BreakAfter + 1 {
			err := invoke(t, rpc.NewEdge("order", "user", rpc.Local{}, edge), once)
			require.Equal(t, kind, fault.KindOf(err))
			require.Equal(t, kind.String(), fault.CodeOf(err))
		}
	}
	for range limits.BreakAfter + 1 {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.Equal(t, codes.Canceled, status.Code(edge.Invoke(ctx, once, new(emptypb.Empty), new(emptypb.Empty))))
	}
	require.Equal(t, "closed", p.State().Edges[0].State)
}

func TestEdge_ComesBackWithTheReplica(t *testing.T) {
	t.Parallel()
	a := serve(t, nettest.FreeAddress(t), nil)
	limits := peer.DefaultLimits()
	limits.BreakAfter, limits.BreakFor = 1, time.Minute
	p := dial(t, peer.Options{Target: a.addr, Limits: limits})
	ready(t, p)
	a.server.Stop()
	require.Eventually(t, func() bool { return p.State().Status == peer.Failing }, 20*time.Second, 5*time.Millisecond)
	edge := p.Edge("order")
	client := testpb.NewTestServiceClient(edge)
	for range 5 {
		_, err := client.EmptyCall(t.Context(), &testpb.Empty{})
		require.Equal(t, codes.Unavailable, status.Code(err))
	}
	serve(t, a.addr, nil)
	ready(t, p)
	_, err := client.EmptyCall(t.Context(), &testpb.Empty{})
	require.NoError(t, err, "at once, for the breaker never opened")
}

func TestEdge_Bulkhead(t *testing.T) {
	t.Parallel()
	arrived, release := make(chan struct{}, 2), make(chan struct{})
	a, _ := serveAccounts(t, func(context.Context) error {
		arrived <- struct{}{}
		<-release
		return nil
	})
	limits := peer.DefaultLimits()
	limits.Concurrency = 1
	p := dial(t, peer.Options{Target: a.addr, Contracts: contracts(t), Limits: limits})
	ready(t, p)
	edge, sibling := p.Edge("order"), p.Edge("notification")
	var calls sync.WaitGroup
	results := make(chan error, 2)
	for _, e := range []*peer.Edge{edge, sibling} {
		calls.Go(func() { results <- invoke(t, e, once) })
	}
	<-arrived
	<-arrived
	err := invoke(t, rpc.NewEdge("order", "user", rpc.Local{}, edge), once)
	require.Equal(t, fault.Unavailable, fault.KindOf(err))
	require.Equal(t, "edge_full", fault.CodeOf(err))
	close(release)
	calls.Wait()
	require.NoError(t, <-results)
	require.NoError(t, <-results)
	require.NoError(t, invoke(t, edge, once))
}
