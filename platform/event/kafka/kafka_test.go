package kafka_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cleave/platform/event"
	"cleave/platform/event/eventtest"
	"cleave/platform/event/kafka"
)

func TestMain(m *testing.M) {
	eventtest.Main()
	m.Run()
}

func open(t testing.TB, url string) *kafka.Pipe {
	t.Helper()
	p, err := kafka.Open(kafka.Options{
		Brokers: []string{strings.TrimPrefix(url, "kafka://")}, Prefix: "cleave", Partitions: 6, Replicas: 1, Retention: time.Hour,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	require.NoError(t, err)
	return p
}

func TestPipe(t *testing.T) {
	server := eventtest.Kafka(t)
	eventtest.Exercise(t, eventtest.Broker{
		Open:  func(t testing.TB) event.Pipe { return open(t, server.URL) },
		Apart: true, History: true, Restart: server.Restart, MaxBytes: eventtest.KafkaMaxBytes,
	})
}
