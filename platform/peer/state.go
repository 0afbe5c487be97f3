package peer

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"

	"cleave/platform/fault"
)

// Status is what a connection is doing.
type Status string

// The statuses.
const (
	Ready      Status = "ready"      // calls go there
	Connecting Status = "connecting" // has not failed yet
	Failing    Status = "failing"    // calls fail at once; it is tried again all the time
)

// State is a Peer at one moment.
type State struct {
	Module    string    `json:"module"`
	Target    string    `json:"target"`
	Status    Status    `json:"status"`
	Since     time.Time `json:"since"`
	Error     string    `json:"error,omitempty"` // why it is not ready, in words that may be shown
	Addresses []Address `json:"addresses,omitempty"`
	Edges     []Breaker `json:"edges,omitempty"`
}

// Breaker is the circuit breaker of an Edge.
type Breaker struct {
	Caller string `json:"caller"`
	State  string `json:"state"` // closed, half-open or open
}

// Health is whether one replica gets calls, and why not.
type Health string

// The healths.
const (
	Serving     Health = "serving"     // calls go there
	NotServing  Health = "not serving" // it is connected, and its health service does not say that it serves the module
	Refused     Health = "refused"     // it is connected and does not fit, see Options.Check
	Unreachable Health = "unreachable" // there is no connection, and it is tried again all the time
	Unknown     Health = "unknown"     // it has not answered yet
)

// Address is one replica.
type Address struct {
	Addr   string    `json:"addr"`
	Health Health    `json:"health"`
	Since  time.Time `json:"since"`
	Error  string    `json:"error,omitempty"` // why it gets no calls
}

// State tells how the connection stands.
func (p *Peer) State() State {
	s := p.tracker.state()
	s.Module, s.Target = p.o.Module, p.o.Target
	p.mu.Lock()
	for _, e := range p.edges {
		s.Edges = append(s.Edges, Breaker{Caller: e.caller, State: e.breaker.State().String()})
	}
	p.mu.Unlock()
	if s.Status == Ready {
		s.Error = ""
		return s
	}
	for _, h := range []Health{Refused, NotServing, Unreachable} {
		if i := slices.IndexFunc(s.Addresses, func(a Address) bool { return a.Health == h }); i >= 0 {
			s.Error = s.Addresses[i].Error
			return s
		}
	}
	s.Error = cmp.Or(s.Error, "no connection yet")
	return s
}

// watch follows the connection's state until Close, and logs each change between working and not.
func (p *Peer) watch() {
	log := p.o.Log.With("module", p.o.Module, "target", p.o.Target)
	status := Connecting
	for {
		s := p.conn.GetState()
		if now := statusOf(s); now != status {
			status = now
			p.tracker.is(now)
			switch now {
			case Ready:
				log.InfoContext(p.ctx, "peer is ready")
			case Failing:
				log.WarnContext(p.ctx, "peer is failing", "error", p.State().Error)
			case Connecting:
			}
		}
		if !p.conn.WaitForStateChange(p.ctx, s) {
			return
		}
	}
}

func statusOf(s connectivity.State) Status {
	switch s {
	case connectivity.Ready:
		return Ready
	case connectivity.TransientFailure:
		return Failing
	default:
		return Connecting
	}
}

// tracker knows each address by what its dials, handshakes and closed connections tell, and its gate.
type tracker struct {
	now       func() time.Time
	mu        sync.Mutex
	whole     State
	addresses map[string]*replica
}

type replica struct {
	Address
	conns int // open ones; two while a replica that stops is being left
}

func newTracker(now func() time.Time) *tracker {
	return &tracker{now: now, whole: State{Status: Connecting, Since: now()}, addresses: map[string]*replica{}}
}

func (t *tracker) state() State {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.whole
	for _, r := range t.addresses {
		s.Addresses = append(s.Addresses, r.Address)
	}
	slices.SortFunc(s.Addresses, func(a, b Address) int { return strings.Compare(a.Addr, b.Addr) })
	return s
}

func (t *tracker) is(s Status) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.whole.Status, t.whole.Since = s, t.now()
}

func (t *tracker) resolved(addresses []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.whole.Error = ""
	for a := range t.addresses {
		if !slices.Contains(addresses, a) {
			delete(t.addresses, a)
		}
	}
	for _, a := range addresses {
		if t.addresses[a] == nil {
			t.addresses[a] = &replica{Address: Address{Addr: a, Health: Unknown, Since: t.now()}}
		}
	}
}

func (t *tracker) unresolved(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.whole.Error = words(err)
}

// connection records that a connection to addr was opened (+1) or closed (-1), or, with 0, that none came about because of err.
func (t *tracker) connection(addr string, opened int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.addresses[addr]
	if r == nil {
		return
	}
	r.conns += opened
	switch {
	case r.conns <= 0:
		r.conns = 0
		r.is(Unreachable, words(err), t.now())
	case r.Health == Unreachable:
		r.is(Unknown, "", t.now())
	}
}

// says records what the gate of a replica that is connected has found.
func (t *tracker) says(addr string, h Health, why string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r := t.addresses[addr]; r != nil && r.conns > 0 {
		r.is(h, why, t.now())
	}
}

func (r *replica) is(h Health, why string, now time.Time) {
	if r.Health != h {
		r.Health, r.Since = h, now
	}
	r.Error = why
}

// dial is the dialer of every connection.
func (t *tracker) dial(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		t.connection(addr, 0, err)
		return nil, err
	}
	return &conn{Conn: c, addr: addr, tracker: t}, nil
}

// conn is a connection whose end is noticed.
type conn struct {
	net.Conn
	addr    string
	tracker *tracker
	mu      sync.Mutex
	open    bool  // after the handshake
	err     error // what a read ended with
}

func (c *conn) Close() error {
	c.mu.Lock()
	if c.open {
		c.open = false
		c.tracker.connection(c.addr, -1, cmp.Or(c.err, io.EOF))
	}
	c.mu.Unlock()
	return c.Conn.Close()
}

// secured is a connection after its handshake. It keeps the error that ended its reads: with TLS 1.3 a server refuses a client's
// certificate only then.
type secured struct {
	net.Conn
	raw *conn
}

func (s secured) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	if err != nil {
		s.raw.mu.Lock()
		s.raw.err = err
		s.raw.mu.Unlock()
	}
	return n, err
}

// watchedCredentials tell the tracker how handshakes end.
type watchedCredentials struct {
	credentials.TransportCredentials
	tracker *tracker
}

func (w watchedCredentials) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	safe, info, err := w.TransportCredentials.ClientHandshake(ctx, authority, raw)
	c, ok := raw.(*conn)
	switch {
	case !ok: // not of our dialer
	case err != nil:
		w.tracker.connection(c.addr, 0, err)
	default:
		c.mu.Lock()
		c.open = true
		c.mu.Unlock()
		w.tracker.connection(c.addr, 1, nil)
		safe = secured{safe, c}
	}
	return safe, info, err
}

func (w watchedCredentials) Clone() credentials.TransportCredentials {
	return watchedCredentials{w.TransportCredentials.Clone(), w.tracker}
}

// words is what may be shown of an error of the network.
func words(err error) string {
	var (
		f       *fault.Error
		dns     *net.DNSError
		verify  *tls.CertificateVerificationError
		remote  *net.OpError
		timeout net.Error
	)
	switch {
	case errors.As(err, &f):
		return f.Message
	case errors.As(err, &dns):
		return "the name " + dns.Name + " cannot be resolved"
	case errors.As(err, &verify):
		return "its certificate is not trusted"
	case errors.As(err, &remote) && remote.Op == "remote error": // as crypto/tls reports an alert of the far side
		return "it does not accept this process's certificate"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "the connection was closed"
	default:
		return "no connection"
	}
}
