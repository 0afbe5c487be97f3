// Package nettest gives tests addresses of their own.
package nettest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

// FreeAddress is an address of this machine at which nobody listens. Its port is none of those that the system gives to
// outgoing connections: they could take it before the test does, and a client that dials it again and again while its server
// is away could be given it for its own side, and be connected to itself.
func FreeAddress(t testing.TB) string {
	t.Helper()
	for range 200 {
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", fmt.Sprint("127.0.0.1:", 10_000+rand.IntN(20_000)))
		if err == nil {
			require.NoError(t, l.Close())
			return l.Addr().String()
		}
	}
	require.FailNow(t, "no free port")
	return ""
}

// FreePort is the port of a FreeAddress.
func FreePort(t testing.TB) int {
	t.Helper()
	return int(netip.MustParseAddrPort(FreeAddress(t)).Port())
}
