// Package rabbit is the event pipe over RabbitMQ, by the client that its makers
// maintain.
//
// Events go through one topic exchange into a durable queue of each
// subscriber, which one replica at a time consumes: the single active consumer
// keeps the order per key, and the next takes over when it goes.
package rabbit

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"cleave/platform/event"
)

// Options are where the servers are and what queues are made like.
type Options struct {
	Hosts     []string // host:port, tried in turn
	TLS       *tls.Config
	User      string
	Password  string
	VHost     string
	Prefix    string        // of the exchange and the queues
	Quorum    bool          // make new queues replicated ones
	Retention time.Duration // how long a new queue keeps events, and itself without a subscriber
	Log       *slog.Logger
}

// Pipe is an event.Pipe. It publishes and receives over separate connections:
// a server that is short of memory stops reading from those that publish.
type Pipe struct {
	o                Options
	publish, receive link
	mu               sync.Mutex
	channels         map[string]*amqp.Channel // by source, with confirmations
	maxSize          int                      // of a message, once the server has told
}

// link is a connection that is made again when it is needed.
type link struct {
	mu   sync.Mutex
	conn *amqp.Connection
}

// Open fails when the server refuses the credentials or the virtual host, or
// its certificate is not trusted. While none can be reached, the pipe keeps
// trying.
func Open(o Options) (*Pipe, error) {
	p := &Pipe{o: o, channels: map[string]*amqp.Channel{}}
	_, err := p.channel(&p.publish)
	switch {
	case errors.Is(err, event.ErrUnreachable):
		o.Log.Warn("RabbitMQ cannot be reached; events wait in the outboxes until it can", "error", err)
	case err != nil:
		return nil, err
	}
	return p, nil
}

// channel opens a channel on a connection that is made if there is none.
func (p *Pipe) channel(l *link) (*amqp.Channel, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == nil || l.conn.IsClosed() {
		conn, err := p.dial()
		if err != nil {
			return nil, err
		}
		l.conn = conn
	}
	ch, err := l.conn.Channel()
	if err != nil {
		return nil, failed("open a channel to RabbitMQ", err)
	}
	return ch, nil
}

// dial tries each host once.
func (p *Pipe) dial() (*amqp.Connection, error) {
	scheme := "amqp"
	if p.o.TLS != nil {
		scheme = "amqps"
	}
	var errs []error
	for _, host := range p.o.Hosts {
		u := url.URL{Scheme: scheme, Host: host}
		conn, err := amqp.DialConfig(u.String(), amqp.Config{
			SASL:  []amqp.Authentication{&amqp.PlainAuth{Username: p.o.User, Password: p.o.Password}},
			Vhost: p.o.VHost, TLSClientConfig: p.o.TLS, Heartbeat: 5 * time.Second, Dial: amqp.DefaultDial(2 * time.Second),
			Properties: amqp.Table{"connection_name": p.o.Prefix},
		})
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, failed("connect to RabbitMQ", errors.Join(errs...))
}

// failed is err, met when doing something.
func failed(doing string, err error) error {
	var network net.Error
	if errors.As(err, &network) || errors.Is(err, amqp.ErrClosed) || strings.Contains(err.Error(), "EOF") || strings.Contains(err.Error(), "CONNECTION_FORCED") {
		return fmt.Errorf("%s: %w: %w", doing, event.ErrUnreachable, err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// Ping reports whether the server opens a channel.
func (p *Pipe) Ping(ctx context.Context) error {
	answer := make(chan error, 1)
	go func() {
		ch, err := p.channel(&p.receive)
		if err == nil {
			err = ch.Close()
		}
		answer <- err
	}()
	select {
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", event.ErrUnreachable, ctx.Err())
	case err := <-answer:
		return err
	}
}

// Close ends the connections.
func (p *Pipe) Close() error {
	var errs []error
	for _, l := range []*link{&p.publish, &p.receive} {
		l.mu.Lock()
		if l.conn != nil {
			if err := l.conn.Close(); err != nil && !errors.Is(err, amqp.ErrClosed) {
				errs = append(errs, err)
			}
		}
		l.mu.Unlock()
	}
	return errors.Join(errs...)
}

func (p *Pipe) exchange() string { return p.o.Prefix + ".events" }

func (p *Pipe) queue(subscriber string) string { return p.o.Prefix + "." + subscriber }

var _ event.Pipe = (*Pipe)(nil)
