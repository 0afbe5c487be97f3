// Package kafka is the event pipe over Kafka, by Watermill's adapter.
//
// Each publishing module has a topic, each subscriber a consumer group. An
// event's key chooses its partition, and a partition belongs to one replica of
// a subscriber at a time, which keeps the order per key. A replica that dies is
// replaced after Kafka's session time-out of 6 s.
package kafka

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"

	"cleave/platform/event"
)

// Options are where the brokers are and what topics are made like.
type Options struct {
	Brokers    []string // host:port
	TLS        *tls.Config
	Mechanism  string // of SASL: "", PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512
	User       string
	Password   string
	Prefix     string        // of topics and groups
	Partitions int           // of a new topic
	Replicas   int           // of a new topic
	Retention  time.Duration // how long a new topic keeps its events
	Log        *slog.Logger
}

// Pipe is an event.Pipe.
type Pipe struct {
	o Options

	mu        sync.Mutex
	publisher *kafka.Publisher
	topics    map[string]bool // those known to exist
}

// Open fails when the brokers refuse the credentials or their certificate is
// not trusted. While none can be reached, the pipe keeps trying.
func Open(o Options) (*Pipe, error) {
	p := &Pipe{o: o, topics: map[string]bool{}}
	err := p.admin(func(sarama.Client, sarama.ClusterAdmin) error { return nil })
	switch {
	case errors.Is(err, event.ErrUnreachable):
		o.Log.Warn("Kafka cannot be reached; events wait in the outboxes until it can", "error", err)
	case err != nil:
		return nil, err
	}
	return p, nil
}

// config is that of all clients. Nothing is sent twice at a time, and what is
// sent again after an error keeps its place (KIP-98).
func (p *Pipe) config() *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.V2_1_0_0
	c.ClientID = p.o.Prefix
	c.Net.DialTimeout, c.Net.ReadTimeout, c.Net.WriteTimeout = 2*time.Second, 10*time.Second, 10*time.Second
	c.Metadata.Retry.Max, c.Metadata.Retry.Backoff = 3, 100*time.Millisecond
	c.Producer.RequiredAcks, c.Producer.Idempotent, c.Net.MaxOpenRequests = sarama.WaitForAll, true, 1
	c.Producer.Retry.Max, c.Producer.Retry.Backoff = 5, 100*time.Millisecond
	c.Producer.Return.Successes = true
	c.Consumer.Return.Errors = true
	c.Consumer.Offsets.Initial = sarama.OffsetOldest // of partitions that were added after Subscribe
	c.Consumer.Offsets.AutoCommit.Interval = 200 * time.Millisecond
	c.Consumer.Group.Session.Timeout, c.Consumer.Group.Heartbeat.Interval = 6*time.Second, time.Second
	c.Consumer.Retry.Backoff = 100 * time.Millisecond
	c.Net.TLS.Enable, c.Net.TLS.Config = p.o.TLS != nil, p.o.TLS
	if p.o.Mechanism != "" {
		s := &c.Net.SASL
		s.Enable, s.Mechanism, s.User, s.Password = true, sarama.SASLMechanism(p.o.Mechanism), p.o.User, p.o.Password
		switch s.Mechanism {
		case sarama.SASLTypeSCRAMSHA256:
			s.SCRAMClientGeneratorFunc = func() sarama.SCRAMClient { return &scram{hash: sha256.New} }
		case sarama.SASLTypeSCRAMSHA512:
			s.SCRAMClientGeneratorFunc = func() sarama.SCRAMClient { return &scram{hash: sha512.New} }
		}
	}
	return c
}

// admin calls fn with a connection of its own.
func (p *Pipe) admin(fn func(sarama.Client, sarama.ClusterAdmin) error) error {
	client, err := sarama.NewClient(p.o.Brokers, p.config())
	if err != nil {
		return failed("connect to Kafka", err)
	}
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		return errors.Join(failed("connect to Kafka", err), client.Close())
	}
	return errors.Join(fn(client, admin), admin.Close()) // which closes the client too
}

// failed is err, met when doing something.
func failed(doing string, err error) error {
	var network net.Error
	if errors.Is(err, sarama.ErrOutOfBrokers) && !refused(err) || errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, sarama.ErrBrokerNotAvailable) {
		return fmt.Errorf("%s: %w: %w", doing, event.ErrUnreachable, err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// refused reports whether a broker answered, but does not want us or is not to
// be trusted.
func refused(err error) bool {
	var certificate *tls.CertificateVerificationError
	return errors.Is(err, sarama.ErrSASLAuthenticationFailed) || errors.As(err, &certificate)
}

// Ping reports whether a broker answers.
func (p *Pipe) Ping(ctx context.Context) error {
	answer := make(chan error, 1)
	go func() {
		answer <- p.admin(func(c sarama.Client, _ sarama.ClusterAdmin) error { return c.RefreshMetadata() })
	}()
	select {
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", event.ErrUnreachable, ctx.Err())
	case err := <-answer:
		return err
	}
}

// Close ends the publisher's connections; those of receivers have ended.
func (p *Pipe) Close() error { return p.drop() }

// drop closes the publisher, whose next use makes another.
func (p *Pipe) drop() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.publisher == nil {
		return nil
	}
	err := p.publisher.Close()
	p.publisher = nil
	return err
}

func (p *Pipe) topic(source string) string { return p.o.Prefix + "." + source }

func (p *Pipe) group(subscriber string) string { return p.o.Prefix + "." + subscriber }

// logger lets Watermill's errors through, which it mends by itself.
type logger struct{ log *slog.Logger }

func (l logger) Error(msg string, err error, _ watermill.LogFields) {
	l.log.Warn("Kafka: "+msg, "error", err)
}
func (l logger) Info(string, watermill.LogFields)                 {}
func (l logger) Debug(string, watermill.LogFields)                {}
func (l logger) Trace(string, watermill.LogFields)                {}
func (l logger) With(watermill.LogFields) watermill.LoggerAdapter { return l }

var _ event.Pipe = (*Pipe)(nil)
