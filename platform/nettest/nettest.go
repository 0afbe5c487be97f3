// Package nettest gives tests addresses of their own.
package nettest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

// Port is one of this machine at which nobody listens, and none of those that the system gives to outgoing connections: they
// could take it before the test does, and a client that dials it again and again while its server is away could be given it
// for its own side, and be connected to itself.
func Port() (int, error) {
	var errs []error
	for range 200 {
		port := 10_000 + rand.IntN(20_000)
		l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port))
		if err == nil {
			return port, l.Close()
		}
		errs = append(errs, err)
	}
	return 0, fmt.Errorf("no free port: %w", errors.Join(errs...))
}

// FreePort is a Port for a test.
func FreePort(t testing.TB) int {
	t.Helper()
	port, err := Port()
	require.NoError(t, err)
	return port
}

// FreeAddress is this machine's with a FreePort.
func FreeAddress(t testing.TB) string {
	t.Helper()
	return fmt.Sprint("127.0.0.1:", FreePort(t))
}
