// Package peer connects this process to the modules that run in other ones.
//
// A Peer is one grpc.ClientConn to every replica of a module: calls go round the replicas that are connected and whose health
// service (grpc.health.v1) says that they serve the module. Replicas that die, come back or join are noticed without a restart.
// Module code never sees a Peer; platform/rpc's Edge stands before it.
package peer

import (
	"context"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	_ "google.golang.org/grpc/health" // the client half of health checking; the service config below asks for it
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/resolver"
	"google.golang.org/protobuf/reflect/protoregistry"

	"cleave/platform/fault"
	"cleave/platform/rpc"
)

// How fast a change at the far side is noticed.
const (
	reconnectMin   = 50 * time.Millisecond
	reconnectMax   = time.Second
	connectTimeout = 3 * time.Second // TCP and TLS handshakes of one attempt
	pingEvery      = 10 * time.Second
	pingTimeout    = 3 * time.Second // a host that vanished is noticed after pingEvery + pingTimeout
	refreshEvery   = 2 * time.Second // names are looked up again
	connectionAge  = time.Hour       // after which both ends must prove themselves anew; calls under way finish on the old one
)

// Options describe a connection. Module, Target and Credentials are required.
type Options struct {
	// Module is the module that runs at the target. Its name is the :authority of the calls and the service of the health checks.
	Module string
	// Target is HOST:PORT, a list of them with commas, dns:///NAME:PORT for every address of a name, or a URL whose scheme one of
	// Resolvers has.
	Target      string
	Credentials credentials.TransportCredentials
	PerCall     credentials.PerRPCCredentials // added to each call; default: nothing
	Resolvers   []resolver.Builder            // of registries; default: none
	DNS         *net.Resolver                 // for dns:/// targets; default: net.DefaultResolver
	Limits      Limits                        // default: DefaultLimits
	Log         *slog.Logger                  // default: discard
	Now         func() time.Time              // default: time.Now
	// Contracts tell which methods may be retried; default: those linked into the binary.
	Contracts *protoregistry.Files
	// Check asks the replica at addr, at the other end of conn, whether it fits this process, and returns Incompatible if not. It is
	// called at each connection and now and then; calls wait for the first answer. Other errors count as a yes. Default: everything fits.
	Check func(ctx context.Context, addr string, conn grpc.ClientConnInterface) error
}

// Peer is a connection to every replica of a module in other processes. Its errors are gRPC statuses; rpc.Edge makes faults of them.
type Peer struct {
	o       Options
	conn    *grpc.ClientConn
	tracker *tracker
	ctx     context.Context // until Close
	stop    context.CancelFunc
	watched sync.WaitGroup

	repeatable map[string]bool // by /PACKAGE.SERVICE/METHOD

	mu       sync.Mutex
	edges    []*Edge
	replicas map[string]grpc.ClientConnInterface // those that Check is asked about, by address
}

var _ grpc.ClientConnInterface = (*Peer)(nil)

// Dial starts to connect and returns at once; see Ready. A target of no known form is an Invalid fault.
func Dial(o Options) (*Peer, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.DNS == nil {
		o.DNS = net.DefaultResolver
	}
	if o.Limits == (Limits{}) {
		o.Limits = DefaultLimits()
	}
	if o.Contracts == nil {
		o.Contracts = protoregistry.GlobalFiles
	}
	target, builder, err := o.resolve()
	if err != nil {
		return nil, err
	}
	repeatable := idempotent(o.Module, o.Contracts)
	service, err := serviceConfig(o.Module, o.Limits, repeatable)
	if err != nil {
		return nil, err
	}
	var perCall grpc.DialOption = grpc.EmptyDialOption{}
	if o.PerCall != nil {
		perCall = grpc.WithPerRPCCredentials(o.PerCall)
	}
	p := &Peer{o: o, tracker: newTracker(o.Now), repeatable: map[string]bool{}, replicas: map[string]grpc.ClientConnInterface{}}
	for _, m := range repeatable {
		p.repeatable["/"+m["service"]+"/"+m["method"]] = true
	}
	p.ctx, p.stop = context.WithCancel(context.Background())
	p.conn, err = grpc.NewClient(target,
		perCall,
		grpc.WithResolvers(observed{builder, p}),
		grpc.WithAuthority(o.Module),
		grpc.WithTransportCredentials(watchedCredentials{o.Credentials, p.tracker}),
		grpc.WithContextDialer(p.tracker.dial),
		grpc.WithNoProxy(),
		grpc.WithDisableServiceConfig(), // a name server or a registry does not decide how we call
		grpc.WithDefaultServiceConfig(service),
		grpc.WithIdleTimeout(0),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: reconnectMin, Multiplier: 1.6, Jitter: 0.2, MaxDelay: reconnectMax},
			MinConnectTimeout: connectTimeout,
		}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingEvery, Timeout: pingTimeout, PermitWithoutStream: true}),
		grpc.WithDefaultCallOptions(grpc.MaxCallSendMsgSize(rpc.MaxMessage), grpc.MaxCallRecvMsgSize(rpc.MaxMessage),
			grpc.MaxRetryRPCBufferSize(2*rpc.MaxMessage)), // of a larger request no second attempt could be made
	)
	if err != nil {
		return nil, fault.New(fault.Invalid, "peer_target", "the target %q of module %s cannot be used", o.Target, o.Module).Wrap(err)
	}
	p.conn.Connect()
	p.watched.Go(p.watch)
	return p, nil
}

// streamWorkers is how many goroutines wait for calls, besides those that are made for further ones. One that has answered before has
// a stack that is large enough for the next call: to grow a new one for each took a tenth of the time of a call over loopback.
const streamWorkers = 8

// ServerOptions are what a server needs so that the connections of this package may do what they do: the size of messages and the
// pace of pings, and the age of connections.
func ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.MaxRecvMsgSize(rpc.MaxMessage),
		grpc.MaxSendMsgSize(rpc.MaxMessage),
		grpc.NumStreamWorkers(streamWorkers),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: pingEvery / 2, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: pingEvery, Timeout: pingTimeout, MaxConnectionAge: connectionAge}),
	}
}

// Invoke performs a unary call on one replica. Where Options.Check refuses all that there are, it returns an Unavailable fault, code
// peer_incompatible, and so does NewStream.
func (p *Peer) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	return plain(p.conn.Invoke(ctx, method, args, reply, opts...))
}

// NewStream opens a stream to one replica.
func (p *Peer) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := p.conn.NewStream(ctx, desc, method, opts...)
	return s, plain(err)
}

// Close ends the connections; calls under way fail.
func (p *Peer) Close() error {
	p.stop()
	err := p.conn.Close()
	p.watched.Wait()
	return err
}

// Ready returns once a replica serves the module. It returns an Unavailable fault that says what is wrong when ctx ends before, code
// peer_unavailable, or when no replica fits, code peer_incompatible.
func (p *Peer) Ready(ctx context.Context) error {
	for {
		s := p.conn.GetState()
		if s == connectivity.Ready {
			return nil
		}
		if err := p.Misfit(); err != nil {
			return err
		}
		if !p.conn.WaitForStateChange(ctx, s) {
			state := p.State()
			return fault.New(fault.Unavailable, "peer_unavailable", "module %s at %s is %s: %s", p.o.Module, p.o.Target, state.Status, state.Error)
		}
	}
}

// Serving reports whether a replica takes calls.
func (p *Peer) Serving() bool { return p.conn.GetState() == connectivity.Ready }

// Stands reports whether the replica at addr is connected and has not been refused.
func (p *Peer) Stands(addr string) bool {
	return slices.ContainsFunc(p.tracker.state().Addresses, func(a Address) bool {
		return a.Addr == addr && a.Health != Refused && a.Health != Unreachable
	})
}

// Each calls fn for each replica that is healthy, whether or not it fits, with the connection to this one alone, until fn fails.
func (p *Peer) Each(ctx context.Context, fn func(ctx context.Context, addr string, conn grpc.ClientConnInterface) error) error {
	p.mu.Lock()
	replicas := maps.Clone(p.replicas)
	p.mu.Unlock()
	for addr, conn := range replicas {
		if err := fn(ctx, addr, conn); err != nil {
			return err
		}
	}
	return nil
}

// Settle returns when the connection is Ready or Failing, or ctx ends.
func (p *Peer) Settle(ctx context.Context) {
	for s := p.conn.GetState(); statusOf(s) == Connecting && p.conn.WaitForStateChange(ctx, s); s = p.conn.GetState() {
	}
}

// Misfit returns why the replicas do not fit if there are any and none does: an Unavailable fault, code peer_incompatible.
func (p *Peer) Misfit() error {
	addresses := p.tracker.state().Addresses
	for _, a := range addresses {
		if a.Health != Refused {
			return nil
		}
	}
	if len(addresses) == 0 {
		return nil
	}
	return Incompatible("%s", addresses[0].Error)
}
