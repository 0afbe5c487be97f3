package skew_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	"cleave/platform/auth"
	"cleave/platform/rpc"
)

// open lets everyone call everything: who may is not what is tested here.
type open struct{}

func (open) MayCall(string, string) (permission string, ok bool) { return "", true }

func (open) Decide(auth.Principal, string) auth.Decision { return auth.Any }

// transports returns a server on each transport, with what register adds, as a
// module calls it.
func transports(t testing.TB, register func(grpc.ServiceRegistrar)) map[string]*rpc.Edge {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	channel := rpc.NewInProcess(open{}, log)
	register(channel)
	server := grpc.NewServer(grpc.UnaryInterceptor(rpc.ServerInterceptor(rpc.Local{}, open{}, log)))
	register(server)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return map[string]*rpc.Edge{
		"in process": rpc.NewEdge("order", "user", rpc.Local{}, channel),
		"network":    rpc.NewEdge("order", "user", rpc.Local{}, conn),
	}
}

func fullMethod(m protoreflect.MethodDescriptor) string {
	return fmt.Sprintf("/%s/%s", m.Parent().FullName(), m.Name())
}

// oldServer knows the released descriptors alone. It keeps the last request of
// each method and answers with every field set.
type oldServer struct {
	mu       sync.Mutex
	requests map[string]*dynamicpb.Message
}

func (s *oldServer) register(methods []protoreflect.MethodDescriptor) func(grpc.ServiceRegistrar) {
	services := map[protoreflect.FullName]*grpc.ServiceDesc{}
	for _, m := range methods {
		name := m.Parent().FullName()
		if services[name] == nil {
			services[name] = &grpc.ServiceDesc{ServiceName: string(name), HandlerType: (*any)(nil)}
		}
		services[name].Methods = append(services[name].Methods, grpc.MethodDesc{MethodName: string(m.Name()), Handler: s.handler(m)})
	}
	return func(r grpc.ServiceRegistrar) {
		for _, d := range services {
			r.RegisterService(d, s)
		}
	}
}

func (s *oldServer) handler(m protoreflect.MethodDescriptor) grpc.MethodHandler {
	return func(srv any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
		in := dynamicpb.NewMessage(m.Input())
		if err := decode(in); err != nil {
			return nil, err
		}
		answer := func(context.Context, any) (any, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.requests[fullMethod(m)] = in
			out := dynamicpb.NewMessage(m.Output())
			fill(out)
			return out, nil
		}
		if interceptor == nil {
			return answer(ctx, in)
		}
		return interceptor(ctx, in, &grpc.UnaryServerInfo{Server: srv, FullMethod: fullMethod(m)}, answer)
	}
}

// TestNewClient calls an old server with today's messages on both transports.
func TestNewClient(t *testing.T) {
	t.Parallel()
	methods := releasedMethods(releasedFiles(t))
	old := &oldServer{requests: map[string]*dynamicpb.Message{}}
	for transport, edge := range transports(t, old.register(methods)) {
		for _, m := range methods {
			t.Run(transport+"/"+string(m.Name()), func(t *testing.T) {
				in, out := newMessage(t, m.Input()), newMessage(t, m.Output())
				fill(in.ProtoReflect())
				require.NoError(t, edge.Invoke(t.Context(), fullMethod(m), in, out))

				old.mu.Lock()
				seen := old.requests[fullMethod(m)]
				old.mu.Unlock()
				require.NotNil(t, seen)
				// What the server knows, it has read as the client meant it.
				require.Empty(t, differences(string(m.Input().FullName()), seen, in.ProtoReflect()))
				b, err := proto.Marshal(seen)
				require.NoError(t, err)
				back := newMessage(t, m.Input())
				require.NoError(t, proto.Unmarshal(b, back))
				require.True(t, proto.Equal(in, back), "fields that an old server does not know are kept")

				sent := dynamicpb.NewMessage(m.Output())
				fill(sent)
				require.Empty(t, differences(string(m.Output().FullName()), sent, out.ProtoReflect()))
			})
		}
	}
}

// newMessage returns an empty message of today's generated type.
func newMessage(t testing.TB, released protoreflect.MessageDescriptor) proto.Message {
	t.Helper()
	mt, err := protoregistry.GlobalTypes.FindMessageByName(released.FullName())
	require.NoError(t, err)
	return mt.New().Interface()
}
