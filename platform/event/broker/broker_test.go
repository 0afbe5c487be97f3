package broker_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"cleave/platform/event"
	"cleave/platform/event/broker"
	"cleave/platform/event/kafka"
	"cleave/platform/nettest"
)

func open(url string) (event.Pipe, error) {
	return broker.Open(broker.Config{URL: url, Retention: time.Hour, Folder: "unused", Log: slog.New(slog.DiscardHandler), Kafka: openKafka})
}

func openKafka(o broker.Kafka) (event.Pipe, error) {
	p, err := kafka.Open(kafka.Options(o))
	if err != nil {
		return nil, err
	}
	return p, nil
}

func works(t *testing.T, url string) {
	t.Helper()
	p, err := open(url)
	require.NoError(t, err)
	require.NoError(t, p.Ping(t.Context()))
	require.NoError(t, p.Close())
}

func TestOpen_Refuses(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"nats":                                        "://",
		"redis://host":                                "redis://",
		"nats://app:hush@":                            "a host is missing",
		"nats://app:hu%zz@host":                       "%25",
		"nats://app:hush@host?replicas=9":             "replicas",
		"nats://app:hush@host?replica=1":              "replica is not known",
		"nats://host?replicas=1&replicas=2":           "twice",
		"nats://host?prefix=a.b":                      "prefix",
		"nats+tls://app:hush@host?ca=/does/not/exist": "ca",
		"nats://embedded":                             "natsserver",
		"kafka://app:hush@host?sasl=kerberos":         "sasl",
		"kafka://host?partitions=0":                   "partitions",
		"amqp://app:hush@host?queues=lazy":            "queues",
	} {
		p, err := open(url)
		require.ErrorContains(t, err, want, url)
		require.True(t, p == nil, "%s: a pipe beside an error", url)
		require.NotContains(t, err.Error(), "hush", url)
	}
}

func TestOpen_WithoutKafka(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"kafka://app:hush@host", "kafka+tls://app:hush@host"} {
		require.True(t, broker.IsKafka(url))
		p, err := broker.Open(broker.Config{URL: url, Log: slog.New(slog.DiscardHandler)})
		require.EqualError(t, err, "this program has no client for kafka://")
		require.Nil(t, p)
	}
}

// A broker that is away is no error, and Ping and Deliver say so.
func TestOpen_Unreachable(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"nats://", "kafka://", "amqp://"} {
		p, err := open(scheme + nettest.FreeAddress(t))
		require.NoError(t, err, scheme)
		require.ErrorIs(t, p.Ping(t.Context()), event.ErrUnreachable, scheme)
		e := event.Envelope{Meta: event.Meta{ID: "1", Type: "cleave.shop.v1.Said", Source: "shop", Time: time.Now()}}
		require.ErrorIs(t, p.Deliver(t.Context(), "shop", []event.Envelope{e}), event.ErrUnreachable, scheme)
		require.ErrorIs(t, p.Subscribe(t.Context(), []event.Subscription{{Subscriber: "mail.said", Type: "cleave.shop.v1.Said", Source: "shop"}}), event.ErrUnreachable, scheme)
		require.NoError(t, p.Close(), scheme)
	}
}

func TestOpen_NATSCredentials(t *testing.T) {
	t.Parallel()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), Username: "app", Password: "p@ss/word", NoSigs: true})
	require.NoError(t, err)
	s.Start()
	t.Cleanup(s.Shutdown)
	require.True(t, s.ReadyForConnections(20*time.Second))
	works(t, "nats://app:p%40ss%2Fword@"+s.Addr().String())
	_, err = open("nats://app:wrong@" + s.Addr().String())
	require.ErrorContains(t, err, "Authorization")
}

func TestOpen_KafkaCredentials(t *testing.T) {
	t.Parallel()
	for sasl, method := range map[string]string{"plain": "PLAIN", "scram-sha-256": "SCRAM-SHA-256", "scram-sha-512": "SCRAM-SHA-512"} {
		t.Run(sasl, func(t *testing.T) {
			t.Parallel()
			c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.Superuser(method, "app", "p@ss,w=rd"))
			require.NoError(t, err)
			t.Cleanup(c.Close)
			works(t, "kafka://app:p%40ss%2Cw=rd@"+c.ListenAddrs()[0]+"?sasl="+sasl)
			c.ControlKey(int16(kmsg.SASLAuthenticate), func(r kmsg.Request) (kmsg.Response, error, bool) { // kfake would hang up, which Kafka does not
				c.KeepControl()
				answer := r.ResponseKind().(*kmsg.SASLAuthenticateResponse)
				answer.ErrorCode = kerr.SaslAuthenticationFailed.Code
				return answer, nil, true
			})
			_, err = open("kafka://app:wrong@" + c.ListenAddrs()[0] + "?sasl=" + sasl)
			require.ErrorContains(t, err, "SASL Authentication failed")
			require.NotErrorIs(t, err, event.ErrUnreachable)
		})
	}
}
