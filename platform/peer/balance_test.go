package peer_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoregistry"
	_ "google.golang.org/protobuf/types/known/structpb"

	"cleave/platform/fault"
	"cleave/platform/nettest"
	"cleave/platform/peer"
	peerv1 "cleave/platform/peer/v1"
)

func TestPeer_Check(t *testing.T) {
	t.Parallel()
	var refuses atomic.Bool
	refuses.Store(true)
	r := serve(t, nettest.FreeAddress(t), nil)
	p := dial(t, peer.Options{Target: r.addr, Check: func(context.Context, string, grpc.ClientConnInterface) error {
		if refuses.Load() {
			return peer.Incompatible("it speaks French")
		}
		return nil
	}})
	err := call(t, p)
	require.Equal(t, "peer_incompatible", fault.CodeOf(err), "the first call waits for the answer")
	require.Equal(t, fault.Unavailable, fault.KindOf(err))
	require.Zero(t, r.calls.Load())
	require.ErrorContains(t, p.Ready(t.Context()), "it speaks French")
	require.Eventually(t, func() bool { return p.State().Status == peer.Failing }, 20*time.Second, 5*time.Millisecond)
	require.Equal(t, "it speaks French", p.State().Error)
	_, err = p.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true}, "/grpc.testing.TestService/StreamingOutputCall")
	require.Equal(t, "peer_incompatible", fault.CodeOf(err))

	refuses.Store(false)
	require.Eventually(t, func() bool { return call(t, p) == nil }, 20*time.Second, 5*time.Millisecond)
	refuses.Store(true)
	r.server.Stop()
	serve(t, r.addr, nil)
	require.Eventually(t, func() bool { return fault.CodeOf(call(t, p)) == "peer_incompatible" }, 20*time.Second, 5*time.Millisecond, "another program at the address is asked again")
}

// Of several replicas one that does not fit gets no calls, and the others do.
func TestPeer_CheckEachReplica(t *testing.T) {
	t.Parallel()
	a, b := serve(t, nettest.FreeAddress(t), nil), serve(t, nettest.FreeAddress(t), nil)
	var french atomic.Pointer[string]
	french.Store(&a.addr)
	p := dial(t, peer.Options{Target: a.addr + "," + b.addr, Check: func(_ context.Context, addr string, _ grpc.ClientConnInterface) error {
		if who := french.Load(); who == nil || *who == addr {
			return peer.Incompatible("it speaks French")
		}
		return nil
	}})
	for range 10 {
		require.NoError(t, call(t, p))
	}
	require.Zero(t, a.calls.Load())
	require.NoError(t, p.Ready(t.Context()))
	require.NoError(t, p.Misfit())
	require.Eventually(t, func() bool { return state(p, a.addr).Health == peer.Refused && p.State().Status == peer.Ready }, 20*time.Second, 5*time.Millisecond)
	require.Equal(t, "it speaks French", state(p, a.addr).Error)
	require.Equal(t, peer.Serving, state(p, b.addr).Health)

	b.health.SetServingStatus("user", healthpb.HealthCheckResponse_NOT_SERVING)
	require.Eventually(t, func() bool { return state(p, b.addr).Health == peer.NotServing }, 20*time.Second, 5*time.Millisecond)
	require.NoError(t, p.Misfit(), "the other one may fit")
	require.Eventually(t, func() bool { return call(t, p) != nil }, 20*time.Second, 5*time.Millisecond)
	require.Zero(t, a.calls.Load())
	b.server.Stop()
	require.Eventually(t, func() bool { return state(p, b.addr).Health == peer.Unreachable }, 20*time.Second, 5*time.Millisecond)

	french.Store(&b.addr)
	reaches(t, p, a)
	require.Equal(t, peer.Serving, state(p, a.addr).Health)
	french.Store(nil)
	serve(t, b.addr, nil)
	a.server.Stop()
	serve(t, a.addr, nil)
	require.Eventually(t, func() bool { return fault.CodeOf(p.Misfit()) == "peer_incompatible" }, 20*time.Second, 5*time.Millisecond)
	require.Equal(t, "peer_incompatible", fault.CodeOf(call(t, p)))
}

// A release that cannot describe itself is believed to fit.
func TestPeer_CheckUnknown(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	p := dial(t, peer.Options{Target: serve(t, nettest.FreeAddress(t), nil).addr, Check: func(ctx context.Context, _ string, conn grpc.ClientConnInterface) error {
		_, err := peerv1.NewPeerServiceClient(conn).Describe(ctx, &peerv1.DescribeRequest{Module: "user"})
		if status.Code(err) == codes.Unimplemented {
			asked.Add(1)
		}
		return err
	}})
	require.NoError(t, call(t, p))
	require.Positive(t, asked.Load())
	require.NoError(t, p.Ready(t.Context()))
}

func TestFits(t *testing.T) {
	t.Parallel()
	const call, event = "grpc.testing.TestService/UnaryCall", "google.protobuf.Struct"
	offered := peer.Contract(protoregistry.GlobalFiles, []string{call}, []string{event})
	for name, c := range map[string]struct {
		methods, events []string
		change          func(map[string]*peerv1.Message)
		says            string
	}{
		"Same":    {methods: []string{call}, events: []string{event}},
		"Cyclic":  {events: []string{event}, change: func(m map[string]*peerv1.Message) { m["google.protobuf.ListValue"].Fields[0].Many = false }, says: "of the event google.protobuf.Struct, the field values = 1 of google.protobuf.ListValue is repeated message here and message there"},
		"Unused":  {methods: []string{call}, change: func(m map[string]*peerv1.Message) { m["google.protobuf.ListValue"].Fields[0].Many = false }},
		"Lacks":   {methods: []string{"grpc.testing.TestService/EmptyCall"}, says: "it lacks the method grpc.testing.TestService/EmptyCall"},
		"Removed": {methods: []string{call}, change: func(m map[string]*peerv1.Message) { m["grpc.testing.SimpleRequest"].Fields = nil }},
		"Event":   {events: []string{"grpc.testing.Payload", "no.such.Event"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			theirs := proto.CloneOf(offered)
			messages := map[string]*peerv1.Message{}
			for _, m := range theirs.GetMessages() {
				messages[m.GetName()] = m
			}
			if c.change != nil {
				c.change(messages)
			}
			err := peer.Fits(peer.Contract(protoregistry.GlobalFiles, c.methods, c.events), theirs)
			if c.says == "" {
				require.NoError(t, err)
			} else {
				require.EqualError(t, err, c.says)
			}
		})
	}
}
