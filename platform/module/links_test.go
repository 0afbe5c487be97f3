package module_test

import (
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"cleave/platform/config"
	"cleave/platform/db/dbtest"
	"cleave/platform/fault"
	"cleave/platform/module"
	"cleave/platform/moduletest"
	"cleave/platform/rpc"
	"cleave/platform/trust"
	"cleave/platform/trust/authority"
)

// serving makes s serve the echo, as policy says.
func serving(s module.Spec, policy string) module.Spec {
	s.Policy = policy
	wire := s.Wire
	s.Wire = func(e *module.Env) (module.Parts, error) {
		p, err := wire(e)
		p.RPC = func(r grpc.ServiceRegistrar) { testpb.RegisterTestServiceServer(r, echo{}) }
		return p, err
	}
	return s
}

// calling makes s call alpha, and returns where its client will be.
func calling(s module.Spec) (module.Spec, *testpb.TestServiceClient) {
	var client testpb.TestServiceClient
	wire := s.Wire
	s.Wire = func(e *module.Env) (module.Parts, error) {
		conn, err := e.Conn("alpha")
		if err != nil {
			return module.Parts{}, err
		}
		client = testpb.NewTestServiceClient(conn)
		return wire(e)
	}
	return s, &client
}

// freeAddr is an address of this machine that nothing listens on.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

// TestProcesses_OnlyUsesMayCall proves on a network what Spec.Uses says: beta, which has the edge, is served; gamma, which has not, is
// refused, though its process is one of the project's and its certificate is good.
func TestProcesses_OnlyUsesMayCall(t *testing.T) {
	t.Parallel()
	ca, err := authority.Open(t.TempDir(), "example.org", time.Now)
	require.NoError(t, err)
	alpha := serving(withKeys(t, spec("alpha", hello)), callPolicy)
	alpha.Keys = "/.well-known/jwks.json"
	beta, client := calling(spec("beta", hello, "alpha"))
	specs := []module.Spec{alpha, beta, spec("gamma", hello)}
	addr := freeAddr(t)
	start := func(name string, modules ...string) *module.Host {
		files, err := ca.Issue(name, modules)
		require.NoError(t, err)
		cfg := moduletest.Config(t, dbtest.SQLite(t), specs...)
		cfg.Topology = config.Topology{
			Modules: modules, Addr: "127.0.0.1:0", TLSCert: files.Cert, TLSKey: files.Key, TLSCA: files.CA,
			Peers: map[string]string{"alpha": addr, "beta": "127.0.0.1:1", "gamma": "127.0.0.1:1"},
		}
		if modules[0] == "alpha" {
			cfg.Topology.Addr = addr
		}
		return moduletest.Start(t, cfg, specs...)
	}
	start("alpha", "alpha")
	host := start("beta", "beta", "gamma")

	require.Eventually(t, func() bool {
		out, err := (*client).UnaryCall(t.Context(), &testpb.SimpleRequest{})
		return err == nil && out.GetUsername() == "echo"
	}, 10*time.Second, 10*time.Millisecond)
	code, body := get(t, host.URL()+"/api/v1/alpha")
	require.Equal(t, http.StatusOK, code, body)

	files, err := ca.Issue("gamma", []string{"gamma"})
	require.NoError(t, err)
	gamma, err := trust.Load(files.Cert, files.Key, files.CA, slog.New(slog.DiscardHandler), time.Now)
	require.NoError(t, err)
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(gamma.ClientCredentials("alpha")))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	for from, says := range map[string]string{
		"gamma": `the module "gamma" may not call /grpc.testing.TestService/UnaryCall`,
		"beta":  `the process spiffe://example.org/modules/gamma may not speak for the module "beta"`,
	} {
		_, err = testpb.NewTestServiceClient(rpc.NewEdge(from, "alpha", gamma.Calls("alpha"), conn)).UnaryCall(t.Context(), &testpb.SimpleRequest{})
		require.Equal(t, "caller_denied", fault.CodeOf(err))
		require.Equal(t, says, fault.From(err).Message)
	}
}
