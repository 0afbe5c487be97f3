package peer

import (
	"context"
	"net"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/resolver"

	"cleave/platform/fault"
)

const (
	staticScheme = "static"
	dnsScheme    = "dns"
	lookupLimit  = 5 * time.Second
)

// static is a builder for a list of addresses that never changes. A host name in it counts as one replica, looked up at each
// connection.
type static []string

func (static) Scheme() string { return staticScheme }

func (s static) Build(_ resolver.Target, cc resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	return fixed{}, cc.UpdateState(endpoints(s))
}

type fixed struct{}

func (fixed) ResolveNow(resolver.ResolveNowOptions) {}
func (fixed) Close()                                {}

func endpoints(addresses []string) resolver.State {
	var s resolver.State
	for _, a := range addresses {
		s.Endpoints = append(s.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: a}}})
	}
	return s
}

// names is a builder for every address of a DNS name. grpc's own looks a name up again only when a connection fails, and then not
// within 30 s: it would not notice a replica that joins.
type names struct {
	host, port string
	dns        *net.Resolver
	now        func() time.Time
}

func (names) Scheme() string { return dnsScheme }

func (n names) Build(_ resolver.Target, cc resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	ctx, stop := context.WithCancel(context.Background())
	l := &lookups{names: n, cc: cc, again: make(chan struct{}, 1), stop: stop}
	l.done.Go(func() { l.run(ctx) })
	return l, nil
}

// lookups repeats one look-up.
type lookups struct {
	names
	cc    resolver.ClientConn
	again chan struct{}
	stop  context.CancelFunc
	done  sync.WaitGroup
	last  []string
}

// ResolveNow asks for an early look-up; grpc calls it when a connection is lost.
func (l *lookups) ResolveNow(resolver.ResolveNowOptions) {
	select {
	case l.again <- struct{}{}:
	default:
	}
}

func (l *lookups) Close() {
	l.stop()
	l.done.Wait()
}

func (l *lookups) run(ctx context.Context) {
	tick := time.NewTicker(refreshEvery)
	defer tick.Stop()
	var looked time.Time
	for {
		if l.now().Sub(looked) >= reconnectMin { // a failing connection asks at each attempt
			l.look(ctx)
			looked = l.now()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-l.again:
		}
	}
}

// look tells grpc the name's addresses when they have changed. A failed look-up leaves it with those that it has.
func (l *lookups) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lookupLimit)
	defer cancel()
	hosts, err := l.dns.LookupHost(ctx, l.host)
	if err == nil && len(hosts) == 0 {
		err = &net.DNSError{Err: "no addresses", Name: l.host, IsNotFound: true}
	}
	if err != nil {
		l.cc.ReportError(fault.New(fault.Unavailable, "", "the name %s cannot be resolved", l.host).Wrap(err))
		return
	}
	addresses := make([]string, len(hosts))
	for i, h := range hosts {
		addresses[i] = net.JoinHostPort(h, l.port)
	}
	slices.Sort(addresses)
	addresses = slices.Compact(addresses)
	if slices.Equal(addresses, l.last) {
		return
	}
	if l.cc.UpdateState(endpoints(addresses)) == nil {
		l.last = addresses
	}
}

// observed tells a Peer which addresses any builder finds, and the balancer which Peer it is for.
type observed struct {
	resolver.Builder
	peer *Peer
}

func (o observed) Build(target resolver.Target, cc resolver.ClientConn, opts resolver.BuildOptions) (resolver.Resolver, error) {
	return o.Builder.Build(target, observedConn{cc, o.peer}, opts)
}

type observedConn struct {
	resolver.ClientConn
	peer *Peer
}

func (c observedConn) UpdateState(s resolver.State) error {
	var addresses []string
	for _, a := range s.Addresses {
		addresses = append(addresses, a.Addr)
	}
	for _, e := range s.Endpoints {
		for _, a := range e.Addresses {
			addresses = append(addresses, a.Addr)
		}
	}
	c.peer.tracker.resolved(addresses)
	return c.ClientConn.UpdateState(c.peer.mark(s))
}

func (c observedConn) ReportError(err error) {
	c.peer.tracker.unresolved(err)
	c.ClientConn.ReportError(err)
}
