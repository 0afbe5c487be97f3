package module_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"cleave/platform/auth"
	"cleave/platform/db/dbtest"
	"cleave/platform/module"
	"cleave/platform/moduletest"
	"cleave/platform/nettest"
	"cleave/platform/trust/authority"
)

// While a module runs here as well, calls that cannot go where its edge leads go on here.
func TestProcesses_CallsGoOnHere(t *testing.T) {
	t.Parallel()
	ca, err := authority.Open(t.TempDir(), "example.org", time.Now)
	require.NoError(t, err)
	alpha := serving(withKeys(t, spec("alpha", hello)), callPolicy)
	alpha.Keys = "/.well-known/jwks.json"
	beta, client := calling(spec("beta", hello, "alpha"))
	specs := []module.Spec{alpha, beta, spec("gamma", hello)}
	addr, shared := nettest.FreeAddress(t), dbtest.Postgres(t)
	there, here := process(t, ca, addr, specs, "alpha"), process(t, ca, addr, specs, "beta", "gamma", "alpha")
	there.DB, here.DB = moduletest.Config(t, shared, specs...).DB, moduletest.Config(t, shared, specs...).DB
	other, err := module.NewHost(there, module.Options{Version: "test"}, specs...)
	require.NoError(t, err)
	require.NoError(t, other.Start(t.Context()))
	host := moduletest.Start(t, here, specs...)
	ctx := auth.With(t.Context(), auth.Principal{Issuer: "https://issuer.example", Subject: "u1"})
	_, version := host.Process()
	require.NoError(t, host.SetEdge(ctx, "beta", "alpha", addr, version))
	for range 5 {
		_, err := (*client).UnaryCall(ctx, &testpb.SimpleRequest{})
		require.NoError(t, err)
	}
	require.NoError(t, other.Stop(context.WithoutCancel(t.Context())))
	for range 5 {
		out, err := (*client).UnaryCall(ctx, &testpb.SimpleRequest{})
		require.NoError(t, err)
		require.Equal(t, "echo", out.GetUsername())
	}
}
