package rpc_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"

	"cleave/platform/auth"
	"cleave/platform/fault"
	"cleave/platform/peer"
	"cleave/platform/rpc"
	"cleave/platform/telemetry"
	"cleave/platform/trust"
	"cleave/platform/trust/authority"
)

// service answers as the test says.
type service struct {
	testpb.UnimplementedTestServiceServer
	unary func(ctx context.Context, in *testpb.SimpleRequest) (*testpb.SimpleResponse, error)
	empty func(ctx context.Context)
}

func (s *service) EmptyCall(ctx context.Context, _ *testpb.Empty) (*testpb.Empty, error) {
	s.empty(ctx)
	return &testpb.Empty{}, nil
}

func (s *service) CacheableUnaryCall(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	return &testpb.SimpleResponse{}, nil
}

func (s *service) UnaryCall(ctx context.Context, in *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	return s.unary(ctx, in)
}

// orders is a policy by which the module order may call the service, except for one method, and needs a permission for another.
func orders(t testing.TB) *auth.Policy {
	t.Helper()
	p, err := auth.NewPolicy(map[string]string{"user": `
rpc, order, grpc.testing.TestService/UnaryCall
rpc, order, grpc.testing.TestService/UnimplementedCall
rpc, order, grpc.testing.TestService/EmptyCall, user:read
rpc, billing, grpc.testing.TestService/CacheableUnaryCall
p, customer, user:read, own
p, support, user:read, any`})
	require.NoError(t, err)
	return p
}

// onEachTransport runs fn with the same service behind an in-process channel
// and behind a loopback connection between two processes that know each other.
func onEachTransport(t *testing.T, s *service, fn func(t *testing.T, client testpb.TestServiceClient)) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	t.Run("in process", func(t *testing.T) {
		channel := rpc.NewInProcess(orders(t), log)
		testpb.RegisterTestServiceServer(channel, s)
		fn(t, testpb.NewTestServiceClient(rpc.NewEdge("order", "user", rpc.Local{}, channel)))
	})
	t.Run("network", func(t *testing.T) {
		a, err := authority.Open(t.TempDir(), "example.org", time.Now)
		require.NoError(t, err)
		caller, callee := process(t, a, "order"), process(t, a, "user")
		server := grpc.NewServer(append(peer.ServerOptions(),
			grpc.Creds(callee.ServerCredentials()), grpc.UnaryInterceptor(rpc.ServerInterceptor(callee.Calls("user"), orders(t), log)))...)
		testpb.RegisterTestServiceServer(server, s)
		healthy := health.NewServer()
		healthy.SetServingStatus("user", grpc_health_v1.HealthCheckResponse_SERVING)
		grpc_health_v1.RegisterHealthServer(server, healthy)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		go func() { _ = server.Serve(l) }()
		t.Cleanup(server.Stop)
		words, err := caller.CallCredentials("user")
		require.NoError(t, err)
		conn, err := peer.Dial(peer.Options{Module: "user", Target: l.Addr().String(), Credentials: caller.ClientCredentials("user"), PerCall: words})
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		require.NoError(t, conn.Ready(t.Context()))
		fn(t, testpb.NewTestServiceClient(rpc.NewEdge("order", "user", caller.Calls("user"), conn.Edge("order"))))
	})
}

// process returns the identity of a new process that runs the module.
func process(t testing.TB, a *authority.Authority, module string) *trust.Identity {
	t.Helper()
	files, err := a.Issue(module, []string{module})
	require.NoError(t, err)
	id, err := trust.Load(files.Cert, files.Key, files.CA, slog.New(slog.DiscardHandler), time.Now)
	require.NoError(t, err)
	return id
}

func TestEdge_Errors(t *testing.T) {
	t.Parallel()
	secret := errors.New("password of db-7 is hunter2")
	for name, c := range map[string]struct {
		err  error
		kind fault.Kind
		code string
		text string
	}{
		"Fault":        {fault.New(fault.Unprocessable, "insufficient_credit", "only %d left", 3), fault.Unprocessable, "insufficient_credit", "only 3 left"},
		"Stale":        {fault.New(fault.Stale, "", "changed meanwhile"), fault.Stale, "stale", "changed meanwhile"},
		"WrappedFault": {errors.Join(secret, fault.New(fault.NotFound, "user_not_found", "no such user")), fault.NotFound, "user_not_found", "no such user"},
		"CauseStays":   {fault.New(fault.Conflict, "taken", "taken").Wrap(secret), fault.Conflict, "taken", "taken"},
		"PlainError":   {secret, fault.Internal, "internal", "internal error"},
		"Deadline":     {context.DeadlineExceeded, fault.Timeout, "timeout", "the deadline passed before the work was done"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &service{unary: func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) { return nil, c.err }}
			onEachTransport(t, s, func(t *testing.T, client testpb.TestServiceClient) {
				_, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{})
				f := fault.From(err)
				require.Equal(t, c.kind, f.Kind)
				require.Equal(t, c.code, f.Code)
				require.Equal(t, c.text, f.Message)
				require.NotContains(t, err.Error(), "hunter2")
				require.NotErrorIs(t, err, secret)
			})
		})
	}
}

func TestEdge_FieldsCross(t *testing.T) {
	t.Parallel()
	field := fault.Field{Path: "/lines/0", Code: "too_many", Message: "at most 3"}
	s := &service{unary: func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		return nil, fault.New(fault.Invalid, "", "wrong").With(field)
	}}
	onEachTransport(t, s, func(t *testing.T, client testpb.TestServiceClient) {
		_, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{})
		require.Equal(t, []fault.Field{field}, fault.From(err).Fields)
	})
}

func TestEdge_Panic(t *testing.T) {
	t.Parallel()
	s := &service{unary: func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) { panic("boom") }}
	onEachTransport(t, s, func(t *testing.T, client testpb.TestServiceClient) {
		_, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{})
		require.Equal(t, fault.Internal, fault.KindOf(err))
		require.NotContains(t, err.Error(), "boom")
		_, err = client.UnaryCall(t.Context(), &testpb.SimpleRequest{})
		require.Error(t, err, "the callee still answers")
	})
}

func TestEdge_StuckCallee(t *testing.T) {
	t.Parallel()
	s := &service{unary: func(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		<-t.Context().Done() // ignores its own deadline
		return nil, ctx.Err()
	}}
	onEachTransport(t, s, func(t *testing.T, client testpb.TestServiceClient) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := client.UnaryCall(ctx, &testpb.SimpleRequest{})
		require.Equal(t, fault.Timeout, fault.KindOf(err))
		require.ErrorContains(t, err, "UnaryCall: DeadlineExceeded: context deadline exceeded", "in the words of no transport")
	})
}

func TestEdge_DefaultDeadline(t *testing.T) {
	t.Parallel()
	s := &service{unary: func(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		deadline, ok := ctx.Deadline()
		if !ok || time.Until(deadline) > rpc.DefaultTimeout {
			return nil, errors.New("no deadline")
		}
		return &testpb.SimpleResponse{}, nil
	}}
	onEachTransport(t, s, func(t *testing.T, client testpb.TestServiceClient) {
		_, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{})
		require.NoError(t, err)
	})
}

func TestEdge_Cancelled(t *testing.T) {
	t.Parallel()
	s := &service{unary: func(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	onEachTransport(t, s, func(t *testing.T, client testpb.TestServiceClient) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(20*time.Millisecond, cancel)
		_, err := client.UnaryCall(ctx, &testpb.SimpleRequest{})
		require.Equal(t, fault.Canceled, fault.KindOf(err))
	})
}

func TestEdge_ContextValuesStay(t *testing.T) {
	t.Parallel()
	type key struct{}
	s := &service{unary: func(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		if ctx.Value(key{}) != nil {
			return nil, errors.New("a context value crossed")
		}
		return &testpb.SimpleResponse{}, nil
	}}
	onEachTransport(t, s, func(t *testing.T, client testpb.TestServiceClient) {
		_, err := client.UnaryCall(context.WithValue(t.Context(), key{}, "tx"), &testpb.SimpleRequest{})
		require.NoError(t, err)
	})
}

func TestEdge_PrincipalAndRequestIDCross(t *testing.T) {
	t.Parallel()
	p := auth.Principal{Subject: "u1", Session: "s1", Roles: []string{"customer"}}
	s := &service{unary: func(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		got, _ := auth.From(ctx)
		return &testpb.SimpleResponse{Username: got.Subject + " " + strings.Join(got.Roles, ","), OauthScope: telemetry.RequestID(ctx)}, nil
	}}
	onEachTransport(t, s, func(t *testing.T, client testpb.TestServiceClient) {
		ctx := telemetry.WithRequestID(auth.With(t.Context(), p), "r-1")
		ctx = metadata.AppendToOutgoingContext(ctx, "cleave-principal", `{"Subject":"admin"}`)
		out, err := client.UnaryCall(ctx, &testpb.SimpleRequest{})
		require.NoError(t, err)
		require.Equal(t, "u1 customer", out.Username)
		require.Equal(t, "r-1", out.OauthScope)

		out, err = client.UnaryCall(t.Context(), &testpb.SimpleRequest{})
		require.NoError(t, err)
		require.Equal(t, " ", out.Username, "no principal without one")
	})
}

func TestEdge_NoAliasing(t *testing.T) {
	t.Parallel()
	kept := &testpb.SimpleResponse{Payload: &testpb.Payload{Body: []byte("stored")}}
	s := &service{unary: func(_ context.Context, in *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		if in.GetPayload() != nil {
			in.Payload.Body[0] = 'X'
		}
		return kept, nil
	}}
	onEachTransport(t, s, func(t *testing.T, client testpb.TestServiceClient) {
		in := &testpb.SimpleRequest{Payload: &testpb.Payload{Body: []byte("mine")}}
		out, err := client.UnaryCall(t.Context(), in)
		require.NoError(t, err)
		out.Payload.Body[0] = 'X'
		require.Equal(t, "mine", string(in.Payload.Body))
		require.Equal(t, "stored", string(kept.Payload.Body))
	})
}

func TestEdge_UnknownMethod(t *testing.T) {
	t.Parallel()
	onEachTransport(t, &service{}, func(t *testing.T, client testpb.TestServiceClient) {
		_, err := client.UnimplementedCall(t.Context(), &testpb.Empty{})
		require.Equal(t, fault.Internal, fault.KindOf(err))
		require.Equal(t, "internal error", fault.From(err).Message)
	})
}

func TestEdge_Access(t *testing.T) {
	t.Parallel()
	type seen struct {
		subject string
		anyone  bool
	}
	var got *seen
	s := &service{empty: func(ctx context.Context) {
		got = &seen{}
		got.subject, got.anyone = auth.Owner(ctx)
	}}
	onEachTransport(t, s, func(t *testing.T, client testpb.TestServiceClient) {
		_, err := client.CacheableUnaryCall(t.Context(), &testpb.SimpleRequest{})
		require.Equal(t, fault.Forbidden, fault.KindOf(err), "another module's method")
		require.Equal(t, "caller_denied", fault.CodeOf(err))
		for name, c := range map[string]struct {
			who  *auth.Principal
			want *seen
		}{
			"Nobody":     {nil, &seen{}},
			"Own":        {&auth.Principal{Subject: "u1", Roles: []string{"customer"}}, &seen{"u1", false}},
			"Any":        {&auth.Principal{Subject: "u2", Roles: []string{"support"}}, &seen{"u2", true}},
			"OtherRole":  {&auth.Principal{Subject: "u3", Roles: []string{"guest"}}, nil},
			"OtherScope": {&auth.Principal{Subject: "u4", Roles: []string{"support"}, Scopes: []string{"order"}}, nil},
		} {
			got = nil
			ctx := t.Context()
			if c.who != nil {
				ctx = auth.With(ctx, *c.who)
			}
			_, err := client.EmptyCall(ctx, &testpb.Empty{})
			if c.want == nil {
				require.Equal(t, "permission_denied", fault.CodeOf(err), name)
			} else {
				require.NoError(t, err, name)
			}
			require.Equal(t, c.want, got, name)
		}
	})
}

func TestEdge_StreamsAreRefused(t *testing.T) {
	t.Parallel()
	onEachTransport(t, &service{}, func(t *testing.T, client testpb.TestServiceClient) {
		_, err := client.FullDuplexCall(t.Context())
		require.Equal(t, "streaming_refused", fault.CodeOf(err))
	})
}

func TestEdge_Switch(t *testing.T) {
	t.Parallel()
	named := func(name string) *rpc.Channel {
		s := &service{unary: func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
			return &testpb.SimpleResponse{Username: name}, nil
		}}
		c := rpc.NewInProcess(orders(t), slog.New(slog.DiscardHandler))
		testpb.RegisterTestServiceServer(c, s)
		return c
	}
	edge := rpc.NewEdge("order", "user", rpc.Local{}, named("first"))
	client := testpb.NewTestServiceClient(edge)
	out, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{})
	require.NoError(t, err)
	require.Equal(t, "first", out.Username)
	edge.Switch(rpc.Local{}, named("second"))
	out, err = client.UnaryCall(t.Context(), &testpb.SimpleRequest{})
	require.NoError(t, err)
	require.Equal(t, "second", out.Username)
	require.EqualValues(t, 2, edge.Stats().Calls)
	require.Zero(t, edge.Stats().Faults)
}
