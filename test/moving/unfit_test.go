package moving_test

import (
	"bufio"
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/proto"

	"cleave/platform/nettest"
	"cleave/platform/peer"
	peerv1 "cleave/platform/peer/v1"
	"cleave/platform/trust"
	"cleave/test/harness"
)

// release is a process of another release: it is healthy, and describes itself as a real one does, except for what differs.
type release struct {
	peerv1.UnimplementedPeerServiceServer

	description *peerv1.DescribeResponse
}

func (r release) Describe(context.Context, *peerv1.DescribeRequest) (*peerv1.DescribeResponse, error) {
	return r.description, nil
}

// describe asks the process at addr what its user module is.
func (s *site) describe(t *testing.T, addr string) *peerv1.DescribeResponse {
	t.Helper()
	files, err := s.authority.Issue("asks", []string{"order"})
	require.NoError(t, err)
	self, err := trust.Load(files.Cert, files.Key, files.CA, slog.New(slog.DiscardHandler), time.Now)
	require.NoError(t, err)
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(self.ClientCredentials("user")))
	require.NoError(t, err)
	defer conn.Close()
	d, err := peerv1.NewPeerServiceClient(conn).Describe(t.Context(), &peerv1.DescribeRequest{Module: "user"})
	require.NoError(t, err)
	return d
}

// pretend runs a release at the address that it returns.
func (s *site) pretend(t *testing.T, d *peerv1.DescribeResponse) string {
	t.Helper()
	files, err := s.authority.Issue("pretends", []string{"user"})
	require.NoError(t, err)
	self, err := trust.Load(files.Cert, files.Key, files.CA, slog.New(slog.DiscardHandler), time.Now)
	require.NoError(t, err)
	server := grpc.NewServer(append(peer.ServerOptions(), grpc.Creds(self.ServerCredentials()))...)
	healthy := health.NewServer()
	healthy.SetServingStatus("user", healthpb.HealthCheckResponse_SERVING)
	healthpb.RegisterHealthServer(server, healthy)
	peerv1.RegisterPeerServiceServer(server, release{description: d})
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() { server.Stop(); <-done })
	return l.Addr().String()
}

// TestExtract_Unfit extracts the user module towards processes that must not have it: it stays where it is, and no request fails.
func TestExtract_Unfit(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	home, away := nettest.FreeAddress(t), nettest.FreeAddress(t)
	whole := s.start(t, "whole", "all", "user,order,notification", home, nil)
	target := s.start(t, "user", "user", "user", away, map[string]string{"order": home, "notification": home})
	shop := newShop(t, whole.url, whole.token, 4)
	stays := func(t *testing.T) {
		t.Helper()
		_, modules, _ := s.command(t, whole.url, shop.admin.token, "module", "where")
		_, edges, _ := s.command(t, whole.url, shop.admin.token, "edge", "list")
		require.NotContains(t, modules+edges, "127.0.0.1")
		require.Contains(t, edges, "here")
	}
	real := s.describe(t, away)
	require.NotZero(t, real.GetMigrated())
	end := shop.load(options.rate)
	for name, c := range map[string]struct {
		change func(*peerv1.DescribeResponse)
		says   string
	}{
		"Contract": {
			func(d *peerv1.DescribeResponse) { d.Contract.Methods = d.GetContract().GetMethods()[:1] },
			`cannot be used: the release "2.0" of the module user there does not fit the release`,
		},
		"SchemaOlder": {
			func(d *peerv1.DescribeResponse) { d.Migrated-- },
			"cannot take the module user over: the schema of its database is version",
		},
		"ProgramOlder": {
			func(d *peerv1.DescribeResponse) { d.Schema-- },
			`and the release "2.0" there knows`,
		},
		"Database": {
			func(d *peerv1.DescribeResponse) { d.Database = "another" },
			"it uses another database than this process: set db.dsn and db.modules.user alike",
		},
	} {
		other := proto.CloneOf(real)
		other.Version = "2.0"
		c.change(other)
		code, out, errs := s.command(t, whole.url, shop.admin.token, "extract", "user", "--to", s.pretend(t, other), "--compare", "1s")
		require.Equal(t, 1, code, name)
		require.Empty(t, out, name)
		require.Contains(t, errs, c.says, name)
		require.NotContains(t, errs, "move the", name)
		stays(t)
	}

	// The target is killed when calls and requests have gone there.
	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte(shop.admin.token), 0o600))
	cmd := harness.Command(binary, nil, "extract", "user", "--to", away, "--compare", "1s", "--url", whole.url, "--token-file", file)
	progress, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var errs strings.Builder
	killed := false
	for lines := bufio.NewReader(progress); ; {
		b, err := lines.ReadByte()
		if err != nil {
			break
		}
		errs.WriteByte(b)
		if !killed && strings.Contains(errs.String(), "watch the calls") {
			killed = true
			time.Sleep(300 * time.Millisecond) // requests are under way there
			require.NoError(t, target.Signal(syscall.SIGKILL))
		}
	}
	_ = cmd.Wait() // the code says it all
	t.Log(errs.String())
	require.True(t, killed)
	require.Equal(t, 1, cmd.ProcessState.ExitCode())
	require.Contains(t, errs.String(), "no process that runs the module user can be reached at "+away)
	stays(t)

	samples := end()
	failed := 0
	for _, r := range samples {
		if r.err != nil {
			failed++
			t.Log(r.err)
		}
	}
	require.Zero(t, failed, "of %d requests", len(samples))
	shop.complete(t)
}
