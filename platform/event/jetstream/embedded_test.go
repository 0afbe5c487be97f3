//go:build natsserver

package jetstream_test

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cleave/platform/event"
	"cleave/platform/event/eventtest"
	"cleave/platform/event/jetstream"
	"cleave/platform/nettest"
)

// TestEmbedded runs the suite on a server inside the process, with clients
// inside and outside.
func TestEmbedded(t *testing.T) {
	listen := nettest.FreeAddress(t)
	inside, err := jetstream.Open(jetstream.Options{
		Prefix: "cleave", Replicas: 1, Retention: time.Hour, Folder: t.TempDir(), Listen: listen, Log: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, inside.Close()) })
	require.NoError(t, inside.Ping(t.Context()))
	eventtest.Exercise(t, eventtest.Broker{
		Open:  func(t testing.TB) event.Pipe { return open(t, fmt.Sprint("nats://", listen)) },
		Apart: true, History: true, Inside: true,
	})
}
