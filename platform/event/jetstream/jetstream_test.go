package jetstream_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
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

// Somebody else's message on the subject holds up nobody.
func TestForeignMessages(t *testing.T) {
	server := eventtest.NATS(t)
	p := open(t, server.URL)
	defer p.Close()
	sub := event.Subscription{Subscriber: "mail.said", Type: "cleave.shop.v1.Said", Source: "shop"}
	require.NoError(t, p.Subscribe(t.Context(), []event.Subscription{sub}))
	conn, err := nats.Connect(server.URL)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.Publish("cleave.shop.cleave.shop.v1.Said", []byte("hello")))
	require.NoError(t, conn.Flush())
	good := event.Envelope{Meta: event.Meta{ID: "1", Type: sub.Type, Source: "shop", Time: time.Unix(1, 0).UTC()}, Payload: []byte{1}}
	require.NoError(t, p.Deliver(t.Context(), "shop", []event.Envelope{good}))
	ctx, cancel := context.WithCancel(t.Context())
	var got []event.Envelope
	require.NoError(t, p.Receive(ctx, sub, func(_ context.Context, events []event.Envelope) error {
		got = append(got, events...)
		cancel()
		return nil
	}))
	require.Equal(t, []event.Envelope{good}, got, "what is no event is passed over")
}

// A durable subscription feeds the inbox of one database: two would share its events out.
func TestOneDatabase(t *testing.T) {
	server := eventtest.NATS(t)
	p := open(t, server.URL)
	defer p.Close()
	sub := event.Subscription{Subscriber: "mail.said", Type: "cleave.shop.v1.Said", Source: "shop"}
	subscribe := func(database string) error {
		s := sub
		s.Database = database
		return p.Subscribe(t.Context(), []event.Subscription{s})
	}
	require.NoError(t, subscribe(""), "as an earlier release did")
	require.NoError(t, subscribe("one"))
	require.NoError(t, subscribe("one"))
	require.ErrorIs(t, subscribe("two"), event.ErrTaken)
	require.ErrorContains(t, subscribe("two"), "delete the consumer")
}
