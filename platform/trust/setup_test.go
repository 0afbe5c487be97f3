package trust_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"cleave/platform/auth"
	"cleave/platform/rpc"
	"cleave/platform/trust"
	"cleave/platform/trust/authority"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// policy lets order call one method of the callee, and billing another.
const policy = `
rpc, order, grpc.testing.TestService/UnaryCall
rpc, billing, grpc.testing.TestService/EmptyCall
p, customer, user:read, own`

// world is a trust domain with an authority, and a clock for everything in it.
type world struct {
	*authority.Authority
	passed atomic.Int64 // since the world began
	log    syncBuffer
}

func setup(t testing.TB, domain string) *world {
	t.Helper()
	w := &world{}
	var err error
	w.Authority, err = authority.Open(t.TempDir(), domain, w.now)
	require.NoError(t, err)
	return w
}

func (w *world) now() time.Time { return time.Now().Add(time.Duration(w.passed.Load())) }

func (w *world) pass(d time.Duration) { w.passed.Add(int64(d)) }

// logged waits for the text in the log: a client hears of a refusal before it is written.
func (w *world) logged(t *testing.T, text string) {
	t.Helper()
	require.Eventually(t, func() bool { return strings.Contains(w.log.String(), text) }, 10*time.Second, time.Millisecond)
}

// process is one with a new certificate for the modules.
func (w *world) process(t testing.TB, name string, modules ...string) *trust.Identity {
	t.Helper()
	files, err := w.Issue(name, modules)
	require.NoError(t, err)
	return w.load(t, files)
}

func (w *world) load(t testing.TB, files authority.Files) *trust.Identity {
	t.Helper()
	id, err := trust.Load(files.Cert, files.Key, files.CA, slog.New(slog.NewTextHandler(&w.log, nil)), w.now)
	require.NoError(t, err)
	return id
}

// callee is a module that runs in a process and notes whom it was called for.
type callee struct {
	testpb.UnimplementedTestServiceServer
	addr   string
	called atomic.Int64
	user   atomic.Pointer[auth.Principal]
}

func (c *callee) UnaryCall(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	c.called.Add(1)
	if p, ok := auth.From(ctx); ok {
		c.user.Store(&p)
	}
	return &testpb.SimpleResponse{}, nil
}

func (c *callee) FullDuplexCall(grpc.BidiStreamingServer[testpb.StreamingOutputCallRequest, testpb.StreamingOutputCallResponse]) error {
	c.called.Add(1)
	return nil
}

func (c *callee) EmptyCall(context.Context, *testpb.Empty) (*testpb.Empty, error) {
	c.called.Add(1)
	return &testpb.Empty{}, nil
}

// serve starts the module in the process.
func serve(t testing.TB, process *trust.Identity, module string) *callee {
	t.Helper()
	access, err := auth.NewPolicy(map[string]string{"user": policy})
	require.NoError(t, err)
	server := grpc.NewServer(append(trust.Guard(), grpc.Creds(process.ServerCredentials()),
		grpc.ChainUnaryInterceptor(rpc.ServerInterceptor(process.Calls(module), access, slog.New(slog.DiscardHandler))))...)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	c := &callee{addr: l.Addr().String()}
	testpb.RegisterTestServiceServer(server, c)
	var done sync.WaitGroup
	done.Go(func() { _ = server.Serve(l) })
	t.Cleanup(func() {
		server.Stop()
		done.Wait()
	})
	return c
}

// connect returns a connection from the process to a process that should run the module.
func connect(t testing.TB, process *trust.Identity, module, addr string) *grpc.ClientConn {
	t.Helper()
	words, err := process.CallCredentials(module)
	require.NoError(t, err)
	return connectWith(t, process, module, addr, words)
}

func connectWith(t testing.TB, process *trust.Identity, module, addr string, perCall credentials.PerRPCCredentials) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(process.ClientCredentials(module)), grpc.WithPerRPCCredentials(perCall))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// caller is the module's edge to user at addr.
func caller(t testing.TB, process *trust.Identity, module, addr string) testpb.TestServiceClient {
	t.Helper()
	return testpb.NewTestServiceClient(rpc.NewEdge(module, "user", process.Calls("user"), connect(t, process, "user", addr)))
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
