// Package jetstream is the event pipe over NATS JetStream.
//
// Each publishing module has a stream, each subscriber a durable consumer of
// it. JetStream acknowledges what it has written, which on a server's default
// settings is up to two minutes before it is synced to disk: set sync_interval
// to always, or run three replicas in different places, or else a power cut
// loses events.
package jetstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"cleave/platform/event"
)

// Options are where the servers are and what streams are made like.
type Options struct {
	URL       string        // nats:// or tls://, with user and password or token; several separated by commas
	Prefix    string        // of streams and subjects
	Replicas  int           // of a new stream, 1 to 5
	Retention time.Duration // how long a stream keeps its events
	Log       *slog.Logger
	Connect   []nats.Option // in addition
	Folder    string        // not empty: run a server in this process that stores here, and ignore URL
	Listen    string        // host:port of that server for other processes; empty: for none
}

// ackWait is how long after a subscriber's death another gets its events. A
// living one says in time that it is still at work.
const ackWait = time.Second

// Pipe is an event.Pipe over one connection.
type Pipe struct {
	o    Options
	conn *nats.Conn
	js   jetstream.JetStream
	stop func() // the server in this process

	mu      sync.Mutex
	streams map[string]bool    // those known to exist, by source
	epoch   context.Context    // ends when the connection is lost or back
	renew   context.CancelFunc // begins the next epoch
}

// Open connects. A server that refuses the credentials or whose certificate is
// not trusted is an error; while none can be reached, the pipe keeps trying.
func Open(o Options) (*Pipe, error) {
	p := &Pipe{o: o, streams: map[string]bool{}, stop: func() {}}
	p.newEpoch()
	if o.Folder != "" {
		inside, stop, err := startServer(o.Folder, o.Listen)
		if err != nil {
			return nil, err
		}
		p.stop, o.Connect = stop, append(o.Connect, inside)
	}
	options := append([]nats.Option{
		nats.Name(o.Prefix), nats.Timeout(2 * time.Second), nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(),
		nats.ReconnectWait(100 * time.Millisecond), nats.ReconnectJitter(50*time.Millisecond, 200*time.Millisecond),
		nats.PingInterval(5 * time.Second), nats.MaxPingsOutstanding(2),
		nats.ReconnectBufSize(-1), // what is published while disconnected fails, and is published again in order
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			p.newEpoch()
			if err != nil {
				o.Log.Warn("connection to NATS lost; reconnecting", "error", err)
			}
		}),
		nats.ReconnectHandler(func(c *nats.Conn) {
			p.newEpoch()
			o.Log.Info("connected to NATS again", "server", c.ConnectedUrlRedacted())
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { o.Log.Warn("NATS reports an error", "error", err) }),
	}, o.Connect...)
	conn, err := nats.Connect(o.URL, options...)
	if errors.Is(err, nats.ErrNoServers) || errors.Is(err, nats.ErrTimeout) {
		o.Log.Warn("NATS cannot be reached; events wait in the outboxes until it can", "error", err)
		conn, err = nats.Connect(o.URL, append(options, nats.RetryOnFailedConnect(true))...)
	}
	if err != nil {
		p.stop()
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	p.conn = conn
	if p.js, err = jetstream.New(conn, jetstream.WithPublishAsyncTimeout(5*time.Second)); err != nil {
		conn.Close()
		p.stop()
		return nil, fmt.Errorf("use JetStream: %w", err)
	}
	return p, nil
}

// newEpoch makes everybody who waits for the server ask anew.
func (p *Pipe) newEpoch() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.renew != nil {
		p.renew()
	}
	p.epoch, p.renew = context.WithCancel(context.Background())
	clear(p.streams)
}

// Ping reports whether JetStream answers.
func (p *Pipe) Ping(ctx context.Context) error {
	if _, err := p.js.AccountInfo(ctx); err != nil {
		return p.failed("ask JetStream", err)
	}
	return nil
}

// failed is err, met when doing something.
func (p *Pipe) failed(doing string, err error) error {
	switch {
	case errors.Is(err, nats.ErrReconnectBufExceeded): // how the client says that it is not connected
		return fmt.Errorf("%s: %w", doing, event.ErrUnreachable)
	case !p.conn.IsConnected() || errors.Is(err, nats.ErrDisconnected):
		return fmt.Errorf("%s: %w: %w", doing, event.ErrUnreachable, err)
	default:
		return fmt.Errorf("%s: %w", doing, err)
	}
}

// Close ends the connection.
func (p *Pipe) Close() error {
	p.js.CleanupPublisher()
	p.conn.Close()
	p.mu.Lock()
	p.renew() // the client's last callback may come yet
	p.mu.Unlock()
	p.stop()
	return nil
}

var _ event.Pipe = (*Pipe)(nil)
