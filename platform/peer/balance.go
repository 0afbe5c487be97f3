package peer

import (
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/base"
	"google.golang.org/grpc/balancer/endpointsharding"
	"google.golang.org/grpc/balancer/pickfirst"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/status"

	"cleave/platform/fault"
)

// When a replica is asked whether it fits, besides at each connection. Calls wait for the first answer, at most askTimeout.
const (
	askTimeout   = 3 * time.Second
	askSoon      = time.Second      // while it does not fit
	askRegularly = 10 * time.Second // its broker may have been away, or a module may have moved
)

// balancing is the name of grpc's round robin with a gate before each replica.
const balancing = "cleave_fitting_round_robin"

// grpc finds balancers by their names, and wants them registered before anything runs.
func init() { balancer.Register(builder{}) }

type builder struct{}

func (builder) Name() string { return balancing }

func (builder) Build(cc balancer.ClientConn, o balancer.BuildOptions) balancer.Balancer {
	return roundRobin{endpointsharding.NewBalancer(cc, o, newGate, endpointsharding.Options{})}
}

type roundRobin struct{ balancer.Balancer }

func (r roundRobin) UpdateClientConnState(s balancer.ClientConnState) error {
	return r.Balancer.UpdateClientConnState(balancer.ClientConnState{ResolverState: pickfirst.EnableHealthListener(s.ResolverState)})
}

// peerKey leads a gate to its Peer, through the attributes of what a resolver finds.
type peerKey struct{}

func (p *Peer) mark(s resolver.State) resolver.State {
	s.Attributes = s.Attributes.WithValue(peerKey{}, p)
	return s
}

// gate stands between the round robin and one replica, which is grpc's pick_first of its addresses: it lets calls through when the
// replica's health service says that it serves, and Options.Check that it fits.
type gate struct {
	balancer.ClientConn // the round robin's
	balancer.Balancer   // pick_first

	mu   sync.Mutex
	peer *Peer
	conn balancer.SubConn // connected last
	addr string           // of conn
	stop func()           // ends asking
}

func newGate(cc balancer.ClientConn, o balancer.BuildOptions) balancer.Balancer {
	g := &gate{ClientConn: cc, stop: func() {}}
	g.Balancer = balancer.Get(pickfirst.Name).Build(g, o)
	return g
}

func (g *gate) UpdateClientConnState(s balancer.ClientConnState) error {
	g.mu.Lock()
	g.peer, _ = s.ResolverState.Attributes.Value(peerKey{}).(*Peer)
	g.mu.Unlock()
	return g.Balancer.UpdateClientConnState(s)
}

func (g *gate) Close() {
	g.mu.Lock()
	g.stop()
	g.mu.Unlock()
	g.Balancer.Close()
}

func (g *gate) NewSubConn(addresses []resolver.Address, o balancer.NewSubConnOptions) (conn balancer.SubConn, err error) {
	listen := o.StateListener
	o.StateListener = func(s balancer.SubConnState) {
		if s.ConnectivityState == connectivity.Ready {
			g.mu.Lock()
			g.conn, g.addr = conn, addresses[0].Addr
			g.mu.Unlock()
		}
		listen(s)
	}
	//lint:ignore SA1019 the note is about several addresses at once, which pick_first does not pass
	conn, err = g.ClientConn.NewSubConn(addresses, o)
	return conn, err
}

// UpdateState takes what pick_first says of the replica. One that is ready is connected and healthy.
func (g *gate) UpdateState(s balancer.State) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stop()
	g.stop = func() {}
	switch {
	case s.ConnectivityState == connectivity.TransientFailure:
		g.peer.tracker.says(g.addr, NotServing, "its health service does not say that it serves "+g.peer.o.Module)
	case s.ConnectivityState == connectivity.Ready && g.peer.o.Check == nil:
		g.peer.tracker.says(g.addr, Serving, "")
	case s.ConnectivityState == connectivity.Ready:
		ctx, stop := context.WithCancel(g.peer.ctx)
		g.stop = stop
		conn, addr, open := g.conn, g.addr, s
		g.peer.watched.Go(func() {
			defer stop()
			g.ask(ctx, conn, addr, open)
		})
		s = balancer.State{ConnectivityState: connectivity.Connecting, Picker: base.NewErrPicker(balancer.ErrNoSubConnAvailable)}
	}
	g.ClientConn.UpdateState(s)
}

// ask asks a replica whether it fits until ctx ends, and opens and shuts the gate; open is its state while open.
func (g *gate) ask(ctx context.Context, sub balancer.SubConn, addr string, open balancer.State) {
	p := g.peer
	lent, release := sub.GetOrBuildProducer(lend{})
	defer release()
	conn := lent.(grpc.ClientConnInterface)
	p.mu.Lock()
	p.replicas[addr] = conn
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.replicas[addr] == conn {
			delete(p.replicas, addr)
		}
	}()
	log := p.o.Log.With("module", p.o.Module, "target", p.o.Target, "address", addr)
	var was Health
	var why string
	for {
		err := p.check(ctx, addr, conn)
		now, text, state, again := Serving, "", open, askRegularly
		switch {
		case fault.CodeOf(err) == "peer_incompatible":
			now, text, again = Refused, fault.From(err).Message, askSoon
			state = balancer.State{ConnectivityState: connectivity.TransientFailure, Picker: base.NewErrPicker(refusal{err})}
		case err != nil && was != "":
			now, text = was, why
		}
		g.mu.Lock()
		if ctx.Err() != nil { // the replica has another state
			g.mu.Unlock()
			return
		}
		p.tracker.says(addr, now, text)
		if now != was {
			g.ClientConn.UpdateState(state)
		}
		g.mu.Unlock()
		switch {
		case now == was:
		case now == Refused:
			log.WarnContext(ctx, "a process does not fit and gets no calls", "error", text)
		case was == Refused:
			log.InfoContext(ctx, "a process fits now and gets calls")
		}
		was, why = now, text
		select {
		case <-ctx.Done():
			return
		case <-time.After(again):
		}
	}
}

func (p *Peer) check(ctx context.Context, addr string, conn grpc.ClientConnInterface) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return p.o.Check(ctx, addr, conn)
}

// lend is how grpc lends the connection to a single replica.
type lend struct{}

func (lend) Build(conn any) (balancer.Producer, func()) { return conn, func() {} }

// Incompatible is the error of a Check that has found that the far side does not fit, and why, in words that may be shown.
func Incompatible(format string, args ...any) error {
	return fault.New(fault.Unavailable, "peer_incompatible", format, args...)
}

// refusal is why a replica gets no calls. It is a status, so that grpc ends a call with it at once.
type refusal struct{ error }

func (r refusal) GRPCStatus() *status.Status { return status.New(codes.Unavailable, r.Error()) }

// plain returns err, or an Unavailable fault, code peer_incompatible, where no replica fits.
func plain(err error) error {
	var r refusal
	if errors.As(err, &r) {
		return fault.New(fault.Unavailable, "peer_incompatible", "a module that is needed runs in a process that does not fit this one").Wrap(r.error)
	}
	return err
}
