package module_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"cleave/platform/auth"
	"cleave/platform/config"
	"cleave/platform/db/dbtest"
	"cleave/platform/fault"
	"cleave/platform/module"
	"cleave/platform/moduletest"
	"cleave/platform/nettest"
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

// process is the configuration of one that runs the modules, where alpha is at addr and the others are called by nobody.
func process(t *testing.T, ca *authority.Authority, addr string, specs []module.Spec, modules ...string) *config.Config {
	t.Helper()
	files, err := ca.Issue(modules[0], modules)
	require.NoError(t, err)
	cfg := moduletest.Config(t, dbtest.SQLite(t), specs...)
	cfg.Topology = config.Topology{
		Modules: modules, Addr: "127.0.0.1:0", TLSCert: files.Cert, TLSKey: files.Key, TLSCA: files.CA,
		Peers: map[string]string{"alpha": addr, "beta": "127.0.0.1:1", "gamma": "127.0.0.1:1"},
	}
	if modules[0] == "alpha" {
		cfg.Topology.Addr = addr
	}
	return cfg
}

// echoes waits until alpha is reached, and answers.
func echoes(t *testing.T, client testpb.TestServiceClient) {
	t.Helper()
	ctx := auth.With(t.Context(), auth.Principal{Subject: "u1"})
	require.EventuallyWithT(t, func(t *assert.CollectT) {
		out, err := client.UnaryCall(ctx, &testpb.SimpleRequest{})
		require.NoError(t, err)
		require.Equal(t, "echo", out.GetUsername())
	}, 10*time.Second, 10*time.Millisecond)
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
	addr := nettest.FreeAddress(t)
	moduletest.Start(t, process(t, ca, addr, specs, "alpha"), specs...)
	host := moduletest.Start(t, process(t, ca, addr, specs, "beta", "gamma"), specs...)
	echoes(t, *client)
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

// TestProcesses_ServiceAccount has a process show a service-account token, which the other one verifies with the keys of a cluster.
func TestProcesses_ServiceAccount(t *testing.T) {
	t.Parallel()
	const issuer = "https://kubernetes.default.svc.cluster.local"
	ca, err := authority.Open(t.TempDir(), "example.org", time.Now)
	require.NoError(t, err)
	alpha := serving(withKeys(t, spec("alpha", hello)), callPolicy)
	alpha.Keys = "/.well-known/jwks.json"
	beta, client := calling(spec("beta", hello, "alpha"))
	specs := []module.Spec{alpha, beta, spec("gamma", hello)}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	cluster := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: "c1", Algorithm: "RS256", Use: "sig"}}})
	}))
	t.Cleanup(cluster.Close)
	dir := t.TempDir()
	authorities := filepath.Join(dir, "ca.crt")
	require.NoError(t, os.WriteFile(authorities, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cluster.Certificate().Raw}), 0o600))
	mount := func(name, account, audience string) string {
		token := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{
			"iss": issuer, "aud": []string{audience}, "sub": "system:serviceaccount:shop:" + account, "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
		})
		token.Header["kid"] = "c1"
		text, err := token.SignedString(key)
		require.NoError(t, err)
		require.NoError(t, os.MkdirAll(filepath.Join(dir, name), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name, audience), []byte(text), 0o600))
		return filepath.Join(dir, name, "{module}")
	}
	addr := nettest.FreeAddress(t)
	callee := process(t, ca, addr, specs, "alpha")
	callee.Auth.Issuers = []config.Issuer{{Issuer: issuer, Audience: "unused", JWKSURL: cluster.URL, CAFile: authorities}}
	callee.Topology.AccountIssuer = issuer
	callee.Topology.Accounts = []config.Account{{Account: "shop/beta", Modules: []string{"beta", "gamma"}}}
	moduletest.Start(t, callee, specs...)

	caller := process(t, ca, addr, specs, "beta", "gamma")
	caller.Topology.TokenFile = mount("good", "beta", "alpha")
	host := moduletest.Start(t, caller, specs...)
	echoes(t, *client)
	code, body := get(t, host.URL()+"/api/v1/alpha")
	require.Equal(t, http.StatusOK, code, body)

	stranger := process(t, ca, addr, specs, "beta", "gamma")
	stranger.Topology.TokenFile = mount("stranger", "other", "alpha")
	moduletest.Start(t, stranger, specs...)
	_, err = (*client).UnaryCall(t.Context(), &testpb.SimpleRequest{})
	require.Equal(t, fault.Unavailable, fault.KindOf(err))
	require.ErrorContains(t, err, `the service account "system:serviceaccount:shop:other" runs no module`)

	for want, set := range map[string]func(c *config.Config){
		`topology.account_issuer is "https://other", which auth.issuers does not have`: func(c *config.Config) { c.Topology.AccountIssuer = "https://other" },
		"topology.accounts is empty": func(c *config.Config) { c.Topology.Accounts = nil },
		`topology.accounts: service account "system:serviceaccount:shop:": want`: func(c *config.Config) { c.Topology.Accounts[0].Account = "shop" },
		"topology.token_file: find a file":                                       func(c *config.Config) { c.Topology.TokenFile = filepath.Join(dir, "none") },
	} {
		cfg := process(t, ca, nettest.FreeAddress(t), specs, "alpha")
		cfg.Auth.Issuers = callee.Auth.Issuers
		cfg.Topology.AccountIssuer, cfg.Topology.Accounts = issuer, []config.Account{{Account: "shop/beta", Modules: []string{"beta"}}}
		set(cfg)
		h, err := module.NewHost(cfg, module.Options{}, specs...)
		require.NoError(t, err)
		require.ErrorContains(t, h.Start(t.Context()), want)
	}
}
