// Package registrytest starts replicas for the tests of registries, and says which ones a peer has found.
package registrytest

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"cleave/platform/peer"
)

// Serve starts a replica of the module and returns its address.
func Serve(t testing.TB, module string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server, state := grpc.NewServer(peer.ServerOptions()...), health.NewServer()
	state.SetServingStatus(module, grpc_health_v1.HealthCheckResponse_SERVING)
	grpc_health_v1.RegisterHealthServer(server, state)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() { server.Stop(); <-done })
	return l.Addr().String()
}

// Finds waits until p is connected to the addresses, and to no other ones.
func Finds(t testing.TB, p *peer.Peer, addresses ...string) {
	t.Helper()
	require.Eventually(t, func() bool {
		state := p.State()
		found := map[string]bool{}
		for _, a := range state.Addresses {
			found[a.Addr] = a.Health == peer.Serving
		}
		for _, a := range addresses {
			if !found[a] {
				return false
			}
		}
		return state.Status == peer.Ready && len(found) == len(addresses)
	}, 30*time.Second, 5*time.Millisecond, "%v, found %+v", addresses, p.State())
}
