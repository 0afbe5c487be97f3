package rabbit_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cleave/platform/event"
	"cleave/platform/event/broker"
	"cleave/platform/event/eventtest"
)

func open(t testing.TB, url string) event.Pipe {
	t.Helper()
	p, err := broker.Open(broker.Config{URL: url, Retention: time.Hour, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	require.NoError(t, err)
	return p
}

func TestPipe(t *testing.T) {
	server := eventtest.RabbitMQ(t)
	b := eventtest.Broker{Open: func(t testing.TB) event.Pipe { return open(t, server.URL) }, Apart: true}
	if server.Own() {
		b.Restart, b.MaxBytes = server.Restart, eventtest.RabbitMaxBytes
	}
	eventtest.Exercise(t, b)
}
