package module_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"cleave/platform/config"
	"cleave/platform/db/dbtest"
	"cleave/platform/event/eventtest"
	"cleave/platform/module"
	"cleave/platform/moduletest"
)

func TestMain(m *testing.M) {
	eventtest.Main()
	dbtest.Main(m)
}

// document describes one public operation, GET /api/v1/<name>.
const document = `
openapi: 3.0.3
info: {title: %[1]s, version: "1"}
paths:
  /api/v1/%[1]s:
    get:
      operationId: get%[1]s
      security: []
      x-permission: public
      x-owner: none
      responses:
        "200": {description: fine, content: {text/plain: {schema: {type: string}}}}
        "400": {$ref: "#/components/responses/Problem"}
        "500": {$ref: "#/components/responses/Problem"}
        "503": {$ref: "#/components/responses/Problem"}
components:
  responses:
    Problem: {description: an error, content: {application/problem+json: {schema: {type: object}}}}
`

// spec is a module that serves one route, which answers with what serve returns.
func spec(name string, serve func(ctx context.Context) string, uses ...string) module.Spec {
	migrations := fstest.MapFS{}
	for _, dialect := range []string{"sqlite", "postgres"} {
		migrations[dialect+"/00001_things.sql"] = &fstest.MapFile{Data: []byte("-- +goose Up\nCREATE TABLE things (id text PRIMARY KEY);\n-- +goose Down\nDROP TABLE things;\n")}
	}
	return module.Spec{
		Name: name, Uses: uses, Migrations: migrations, OpenAPI: fmt.Appendf(nil, document, name),
		Wire: func(*module.Env) (module.Parts, error) {
			return module.Parts{REST: func(r gin.IRouter) {
				r.GET("/api/v1/"+name, func(c *gin.Context) { c.String(http.StatusOK, serve(c.Request.Context())) })
			}}, nil
		},
	}
}

func hello(context.Context) string { return "hello" }

// withKeys makes s the module that issues tokens.
func withKeys(t *testing.T, s module.Spec) module.Spec {
	t.Helper()
	wire := s.Wire
	s.Wire = func(e *module.Env) (module.Parts, error) {
		p, err := wire(e)
		p.Keys = moduletest.NewIssuer(t, config.Default(), s.Name)
		return p, err
	}
	return s
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url) //nolint:noctx // the host's stop ends it
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(body)
}

func TestOrder(t *testing.T) {
	t.Parallel()
	names := func(specs []module.Spec) (out []string) {
		for _, s := range specs {
			out = append(out, s.Name)
		}
		return out
	}
	sorted, err := module.Order([]module.Spec{{Name: "a", Uses: []string{"b", "c"}}, {Name: "b", Uses: []string{"c"}}, {Name: "c"}})
	require.NoError(t, err)
	require.Equal(t, []string{"c", "b", "a"}, names(sorted))
	for name, c := range map[string]struct {
		specs []module.Spec
		says  string
	}{
		"Cycle":   {[]module.Spec{{Name: "a", Uses: []string{"b"}}, {Name: "b", Uses: []string{"a"}}}, "[a b a]"},
		"Itself":  {[]module.Spec{{Name: "a", Uses: []string{"a"}}}, "[a a]"},
		"Unknown": {[]module.Spec{{Name: "a", Uses: []string{"x"}}}, "module a uses x, which is not in the list"},
		"Twice":   {[]module.Spec{{Name: "a"}, {Name: "a"}}, "two modules are named a"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := module.Order(c.specs)
			require.ErrorContains(t, err, c.says)
		})
	}
}

func TestHost_ServesAndReports(t *testing.T) {
	t.Parallel()
	specs := []module.Spec{withKeys(t, spec("alpha", hello)), spec("beta", hello)}
	moduletest.Each(t, specs, func(t *testing.T, cfg *config.Config) {
		h := moduletest.Start(t, cfg, specs...)
		code, body := get(t, h.URL()+"/api/v1/beta")
		require.Equal(t, http.StatusOK, code)
		require.Equal(t, "hello", body)
		code, body = get(t, h.URL()+"/readyz?verbose")
		require.Equal(t, http.StatusOK, code)
		require.Contains(t, body, "alpha database ok")
		require.NotNil(t, h.DB("beta"))
		require.Nil(t, h.DB("gamma"))
	})
}

// A restart finds the schema in place, and the same cursor keys.
func TestHost_Restarts(t *testing.T) {
	t.Parallel()
	s := withKeys(t, spec("alpha", hello))
	moduletest.Each(t, []module.Spec{s}, func(t *testing.T, cfg *config.Config) {
		for range 2 {
			h, err := module.NewHost(cfg, module.Options{}, s)
			require.NoError(t, err)
			require.NoError(t, h.Start(t.Context()))
			require.NoError(t, h.Stop(t.Context()))
		}
	})
}

func TestHost_RefusesToStart(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = taken.Close() })
	for name, c := range map[string]struct {
		change func(cfg *config.Config)
		specs  []module.Spec
		says   string
	}{
		"PortInUse":   {func(cfg *config.Config) { cfg.HTTP.Addr = taken.Addr().String() }, []module.Spec{withKeys(t, spec("a", hello))}, "address already in use"},
		"DataFolder":  {func(cfg *config.Config) { cfg.Data.Dir = filepath.Join("/dev/null", "data") }, []module.Spec{withKeys(t, spec("a", hello))}, "data.dir"},
		"NoIssuer":    {func(*config.Config) {}, []module.Spec{spec("a", hello)}, "no module issues tokens"},
		"TwoIssuers":  {func(*config.Config) {}, []module.Spec{withKeys(t, spec("a", hello)), withKeys(t, spec("b", hello))}, "only one may set Parts.Keys"},
		"SchemaOlder": {func(cfg *config.Config) { cfg.DB.MigrateOnStart = false }, []module.Spec{withKeys(t, spec("a", hello))}, "app migrate up"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := moduletest.Config(t, dbtest.SQLite(t), c.specs...)
			c.change(cfg)
			h, err := module.NewHost(cfg, module.Options{}, c.specs...)
			require.NoError(t, err)
			err = h.Run(t.Context())
			var start *module.StartError
			require.ErrorAs(t, err, &start)
			require.ErrorContains(t, err, c.says)
		})
	}
}

const callPolicy = `rpc, beta, grpc.testing.TestService/EmptyCall
rpc, beta, grpc.testing.TestService/UnaryCall
rpc, beta, grpc.testing.TestService/CacheableUnaryCall
rpc, beta, grpc.testing.TestService/UnimplementedCall
`

func TestHost_MethodsNeedAPolicy(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ policy, want string }{
		"None":       {strings.ReplaceAll(callPolicy, "rpc, beta, grpc.testing.TestService/UnaryCall\n", ""), `no policy lets a module call grpc.testing.TestService/UnaryCall: add "rpc, CALLER, grpc.testing.TestService/UnaryCall" to the policy of module alpha`},
		"NoMethod":   {callPolicy + "rpc, beta, grpc.testing.TestService/Fly", "policy of module alpha, line 5: there is no method grpc.testing.TestService/Fly"},
		"NoEdge":     {callPolicy + "rpc, gamma, grpc.testing.TestService/EmptyCall", "policy of module alpha, line 5: the Uses of module gamma does not name alpha"},
		"Permission": {callPolicy + "rpc, beta, grpc.testing.TestService/EmptyCall, alpha:fly", `policy of module alpha, line 5: no policy grants the permission "alpha:fly"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			callee := withKeys(t, spec("alpha", hello))
			callee.Policy = tt.policy
			wire := callee.Wire
			callee.Wire = func(e *module.Env) (module.Parts, error) {
				p, err := wire(e)
				p.RPC = func(r grpc.ServiceRegistrar) { testpb.RegisterTestServiceServer(r, echo{}) }
				return p, err
			}
			specs := []module.Spec{callee, spec("beta", hello, "alpha"), spec("gamma", hello)}
			h, err := module.NewHost(moduletest.Config(t, dbtest.SQLite(t), specs...), module.Options{}, specs...)
			require.NoError(t, err)
			require.EqualError(t, h.Start(t.Context()), tt.want)
		})
	}
}

func TestHost_EdgesComeFromUses(t *testing.T) {
	t.Parallel()
	callee := withKeys(t, spec("alpha", hello))
	callee.Policy = callPolicy
	wire := callee.Wire
	callee.Wire = func(e *module.Env) (module.Parts, error) {
		_, err := e.Conn("beta")
		require.ErrorContains(t, err, "Uses does not name")
		p, err := wire(e)
		p.RPC = func(r grpc.ServiceRegistrar) { testpb.RegisterTestServiceServer(r, echo{}) }
		return p, err
	}
	var conn grpc.ClientConnInterface
	caller := spec("beta", hello, "alpha")
	callerWire := caller.Wire
	caller.Wire = func(e *module.Env) (_ module.Parts, err error) {
		if conn, err = e.Conn("alpha"); err != nil {
			return module.Parts{}, err
		}
		return callerWire(e)
	}
	h := moduletest.Start(t, moduletest.Config(t, dbtest.SQLite(t), caller, callee), caller, callee)
	client := testpb.NewTestServiceClient(conn)
	out, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{})
	require.NoError(t, err)
	require.Equal(t, "echo", out.Username)

	err = h.DB("beta").Tx(t.Context(), func(ctx context.Context) error {
		if err := h.DB("beta").Conn(ctx).Exec("INSERT INTO things VALUES ('1')").Error; err != nil {
			return err
		}
		_, err := client.UnaryCall(ctx, &testpb.SimpleRequest{})
		return err
	})
	require.ErrorContains(t, err, "inside a transaction")
}

type echo struct {
	testpb.UnimplementedTestServiceServer
}

func (echo) UnaryCall(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	return &testpb.SimpleResponse{Username: "echo"}, nil
}

// Clients that keep their connections and reconnect when told to see no failed
// request while the process stops.
func TestHost_StopFailsNoRequest(t *testing.T) {
	t.Parallel()
	slow := func(ctx context.Context) string {
		select {
		case <-ctx.Done():
			return "cut off"
		case <-time.After(20 * time.Millisecond):
			return "done"
		}
	}
	s := withKeys(t, spec("alpha", slow))
	cfg := moduletest.Config(t, dbtest.SQLite(t), s)
	cfg.HTTP.DrainDelay = time.Second
	h, err := module.NewHost(cfg, module.Options{}, s)
	require.NoError(t, err)
	require.NoError(t, h.Start(t.Context()))
	url := h.URL()

	var answered atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}}
		wg.Go(func() {
			for {
				resp, err := client.Get(url + "/api/v1/alpha") //nolint:noctx // see above
				if err != nil {
					t.Errorf("a request failed: %v", err)
					return
				}
				body, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if err != nil || string(body) != "done" {
					t.Errorf("a request was cut off: %q %v", body, err)
					return
				}
				answered.Add(1)
				if resp.Close { // the load balancer would now choose another replica
					return
				}
			}
		})
	}
	require.Eventually(t, func() bool { return answered.Load() > 50 }, 10*time.Second, time.Millisecond)
	stopped := make(chan error, 1)
	go func() { stopped <- h.Stop(t.Context()) }()
	require.Eventually(t, func() bool {
		code, _ := get(t, url+"/readyz")
		return code == http.StatusServiceUnavailable
	}, 10*time.Second, time.Millisecond, "readiness goes off while the process still answers")
	wg.Wait()
	require.NoError(t, <-stopped)
}

func TestHost_BackgroundFailureStopsTheProcess(t *testing.T) {
	t.Parallel()
	s := withKeys(t, spec("alpha", hello))
	wire := s.Wire
	s.Wire = func(e *module.Env) (module.Parts, error) {
		p, err := wire(e)
		p.Background = append(p.Background, func(context.Context) error { return fmt.Errorf("lost the mail server") })
		return p, err
	}
	h, err := module.NewHost(moduletest.Config(t, dbtest.SQLite(t), s), module.Options{}, s)
	require.NoError(t, err)
	require.ErrorContains(t, h.Run(t.Context()), "lost the mail server")
}

// A token for one module opens no other one.
func TestHost_TokensAreForTheirAudience(t *testing.T) {
	t.Parallel()
	guarded := func(name string) module.Spec {
		s := spec(name, hello)
		doc := strings.Replace(string(s.OpenAPI), "security: []", "security: [{bearer: []}]", 1)
		doc = strings.Replace(doc, "x-permission: public", "x-permission: "+name+":get", 1)
		for _, code := range []string{"401", "403"} {
			doc = strings.Replace(doc, "        \"500\":", "        \""+code+"\": {$ref: \"#/components/responses/Problem\"}\n        \"500\":", 1)
		}
		s.OpenAPI = []byte(doc + "  securitySchemes: {bearer: {type: http, scheme: bearer}}\n")
		s.Policy = "p, customer, " + name + ":get, any\n"
		return s
	}
	alpha, beta := guarded("alpha"), guarded("beta")
	cfg := moduletest.Config(t, dbtest.SQLite(t), alpha, beta)
	issuer := moduletest.NewIssuer(t, cfg, "alpha")
	wire := alpha.Wire
	alpha.Wire = func(e *module.Env) (module.Parts, error) {
		p, err := wire(e)
		p.Keys = issuer
		return p, err
	}
	h := moduletest.Start(t, cfg, alpha, beta)
	token := issuer.Token(t, "u1", "customer")
	for name, want := range map[string]int{"alpha": http.StatusOK, "beta": http.StatusUnauthorized} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.URL()+"/api/v1/"+name, nil)
		require.NoError(t, err)
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		_ = resp.Body.Close()
		require.Equal(t, want, resp.StatusCode, name)
	}
}
