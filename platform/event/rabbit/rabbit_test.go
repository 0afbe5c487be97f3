package rabbit_test

import (
	"log/slog"
	"strings"
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
	t.Run("Refused", func(t *testing.T) {
		_, host, _ := strings.Cut(server.URL, "://")
		_, err := broker.Open(broker.Config{URL: "amqp://app:wrong@" + host[strings.LastIndexByte(host, '@')+1:], Retention: time.Hour, Log: slog.New(slog.DiscardHandler)})
		require.ErrorContains(t, err, "username or password")
		_, err = broker.Open(broker.Config{URL: server.URL + "/nowhere", Retention: time.Hour, Log: slog.New(slog.DiscardHandler)})
		require.ErrorContains(t, err, "vhost")
		quorum := open(t, server.URL+"?queues=quorum&prefix=quorum")
		require.NoError(t, quorum.Subscribe(t.Context(), []event.Subscription{{Subscriber: "mail.said", Type: "cleave.shop.v1.Said", Source: "shop"}}))
		require.NoError(t, quorum.Close())
	})
}
