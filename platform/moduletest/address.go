package moduletest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

// FreeAddress is an address of this machine at which nobody listens. Its port is none of those that the system gives to
// outgoing connections, which could take it before the test does.
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
