package jetstream_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cleave/platform/event"
	"cleave/platform/event/eventtest"
	"cleave/platform/event/jetstream"
)

func TestMain(m *testing.M) {
	eventtest.Main()
	m.Run()
}

func open(t testing.TB, url string) *jetstream.Pipe {
	t.Helper()
	p, err := jetstream.Open(jetstream.Options{URL: url, Prefix: "cleave", Replicas: 1, Retention: time.Hour, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	require.NoError(t, err)
	return p
}

func TestPipe(t *testing.T) {
	server := eventtest.NATS(t)
	eventtest.Exercise(t, eventtest.Broker{
		Open:  func(t testing.TB) event.Pipe { return open(t, server.URL) },
		Apart: true, History: true, Restart: server.Restart, MaxBytes: eventtest.NATSMaxBytes,
	})
}
