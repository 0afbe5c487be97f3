package module

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"cleave/platform/auth"
	"cleave/platform/fault"
	"cleave/platform/front"
	frontv1 "cleave/platform/front/v1"
	"cleave/platform/peer"
	peerv1 "cleave/platform/peer/v1"
	"cleave/platform/rest"
	"cleave/platform/rpc"
	"cleave/platform/trust"
)

// links are the connections between this process and those that run other
// modules, or call the ones of this process.
type links struct {
	self     *trust.Identity // nil in a process that has nothing to do with others
	dial     func(module, address string) (*peer.Peer, error)
	listener net.Listener
	server   *grpc.Server
	health   *health.Server
	services *rpc.Services
	piped    chan struct{}            // closed when the event pipe is open
	accounts map[string]*auth.Issuers // that verify service-account tokens, by the module of this process that they are for

	mu    sync.Mutex
	peers map[peerKey]*peer.Peer
}

type peerKey struct{ module, address string }

// connect binds the listener on which other processes reach this one, and
// begins to connect to the modules that it does not start with. It waits for
// nobody: processes may be started in any order.
func (h *Host) connect(ctx context.Context) (err error) {
	t := h.cfg.Topology
	l := &links{peers: map[peerKey]*peer.Peer{}, services: rpc.NewServices(), piped: make(chan struct{})}
	h.links = l
	if t.TLSCert == "" {
		return nil // place has seen that nothing needs it
	}
	l.self, err = trust.Load(t.TLSCert, t.TLSKey, t.TLSCA, h.o.Log, h.o.Now)
	if err != nil {
		return fmt.Errorf("topology.tls_cert, topology.tls_key, topology.tls_ca: %w", err)
	}
	if err := h.useAccounts(); err != nil {
		return err
	}
	l.dial = func(module, address string) (*peer.Peer, error) {
		spec, err := h.spec(module)
		if err != nil {
			return nil, err
		}
		token, err := l.self.CallCredentials(module)
		if err != nil {
			return nil, fmt.Errorf("topology.token_file: %w", err)
		}
		standing := func(addr string) bool {
			l.mu.Lock()
			p := l.peers[peerKey{module, address}]
			l.mu.Unlock()
			return p.Stands(addr)
		}
		return peer.Dial(peer.Options{
			Module: module, Target: address, Credentials: l.self.ClientCredentials(module), PerCall: token, Limits: peer.Limits(t.Calls),
			Resolvers: h.o.Resolvers, Log: h.o.Log, Now: h.o.Now, Contracts: h.o.Contracts, Check: h.fits(spec, l.piped, standing),
		})
	}
	for _, s := range h.start {
		if err := l.mayRun(s.Name); err != nil {
			return err
		}
	}
	for _, s := range h.specs {
		if slices.ContainsFunc(h.start, func(here Spec) bool { return here.Name == s.Name }) {
			h.requests[s.Name] = Here
			continue
		}
		h.requests[s.Name] = t.Peers[s.Name]
		if _, err := l.peer(s.Name, t.Peers[s.Name]); err != nil {
			return fmt.Errorf("topology.peers.%s: %w", s.Name, err)
		}
	}
	if t.Addr == "" {
		return nil
	}
	l.listener, err = new(net.ListenConfig).Listen(ctx, "tcp", t.Addr)
	if err != nil {
		return fmt.Errorf("listen on topology.addr %s: %w", t.Addr, err)
	}
	return nil
}

// mayRun refuses a module that the process's certificate does not name: nobody
// would believe its calls.
func (l *links) mayRun(module string) error {
	if l.self != nil && !slices.Contains(l.self.Modules(), module) {
		return fault.New(fault.Unprocessable, "certificate_lacks_module",
			"topology.tls_cert is for %s, and this process runs the module %s: use a certificate that names it", l.self.ID(), module)
	}
	return nil
}

// peer returns the connection to the module at an address. It is kept until the
// process ends: what moves there may move back.
func (l *links) peer(module, address string) (*peer.Peer, error) {
	if l.self == nil {
		return nil, fault.New(fault.Unprocessable, "no_certificate",
			"topology.tls_cert, topology.tls_key and topology.tls_ca are empty: without a certificate no other process can be called")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	key := peerKey{module, address}
	if p := l.peers[key]; p != nil {
		return p, nil
	}
	p, err := l.dial(module, address)
	if err == nil {
		l.peers[key] = p
	}
	return p, err
}

// settleTimeout bounds the wait for processes that do not answer when this one starts.
const settleTimeout = 3 * time.Second

// refuseMisfits fails when none of the processes that run a module which this one needs fits. One that is away may.
func (h *Host) refuseMisfits(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	var errs []error
	for _, s := range h.specs {
		address := h.requestsOf(s.Name)
		if address == Here {
			continue
		}
		p, err := h.links.peer(s.Name, address)
		if err != nil {
			return err
		}
		p.Settle(ctx)
		if err := p.Misfit(); err != nil {
			errs = append(errs, fmt.Errorf("topology.peers.%s is %s: %w", s.Name, address, err))
		}
	}
	return errors.Join(errs...)
}

// serveProcesses answers other processes: calls of the modules that are offered,
// and requests of clients that they took.
func (h *Host) serveProcesses() {
	l := h.links
	if l.listener == nil {
		return
	}
	l.health = health.NewServer()
	l.server = grpc.NewServer(append(append(peer.ServerOptions(), trust.Guard()...), grpc.Creds(l.self.ServerCredentials()), grpc.UnknownServiceHandler(l.services.Serve))...)
	grpc_health_v1.RegisterHealthServer(l.server, l.health)
	peerv1.RegisterPeerServiceServer(l.server, describer{host: h})
	frontv1.RegisterFrontServiceServer(l.server, front.NewServer(h, h.o.Log))
	h.addLine("processes", l.listener.Addr().String())
	server, listener := l.server, l.listener
	go func() {
		if err := server.Serve(listener); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			h.fail(fmt.Errorf("serve other processes: %w", err))
		}
	}()
}

// offer lets other processes call a module.
func (h *Host) offer(r *running) {
	l := h.links
	if l.health == nil {
		return
	}
	if r.parts.RPC != nil {
		l.services.Add(r.spec.Name, rpc.ServerInterceptor(l.self.Calls(r.spec.Name), h.policy, h.o.Log), func(to grpc.ServiceRegistrar) {
			r.parts.RPC(h.traffic.Registrar(r.spec.Name, to))
		})
	}
	l.health.SetServingStatus(r.spec.Name, grpc_health_v1.HealthCheckResponse_SERVING)
}

// withdraw makes other processes call a module elsewhere, and waits for their
// calls under way.
func (l *links) withdraw(ctx context.Context, module string) error {
	if l.health != nil {
		l.health.SetServingStatus(module, grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	}
	return l.services.Remove(ctx, module)
}

// draining tells the processes that call this one to call another.
func (l *links) draining() {
	if l != nil && l.health != nil {
		l.health.Shutdown()
	}
}

// stopServing finishes what other processes have asked for. What is still
// running when ctx ends is cut off.
func (l *links) stopServing(ctx context.Context) error {
	if l == nil || l.server == nil {
		return nil
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.server.GracefulStop()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		l.server.Stop()
		<-done
		return fmt.Errorf("calls of other processes were cut off after http.shutdown_timeout: %w", ctx.Err())
	}
}

// close ends the connections. Nothing may be calling.
func (l *links) close() error {
	if l == nil {
		return nil
	}
	var errs []error
	for _, p := range l.peers {
		errs = append(errs, p.Close())
	}
	if l.listener != nil {
		if err := l.listener.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// checkPeers are the states of what leads to other processes, for /readyz. They are no condition
// of readiness: a process whose peer is away still answers what it can.
func (h *Host) checkPeers() (checks []rest.Check) {
	add := func(name, module, address string) {
		check := rest.Check{Name: name}
		p, err := h.links.peer(module, address)
		if err != nil {
			check.Err = err
		} else if state := p.State(); state.Status != peer.Ready {
			check.Err = fault.New(fault.Unavailable, "module_away", "the connection is %s: %s", state.Status, state.Error)
		}
		checks = append(checks, check)
		if p != nil {
			checks = append(checks, replicas(name, p.State().Addresses)...)
		}
	}
	for _, s := range h.specs {
		if address := h.requestsOf(s.Name); address != Here {
			add("module "+s.Name, s.Name, address)
		}
	}
	for _, r := range h.modules() {
		for _, e := range r.edges {
			if where := h.edgeTo(e); where != Here {
				add("edge "+e.from+" to "+e.to, e.to, where)
			}
		}
	}
	return checks
}

// replicas are the states of each of several processes with a module.
func replicas(name string, addresses []peer.Address) (checks []rest.Check) {
	if len(addresses) < 2 {
		return nil
	}
	for _, a := range addresses {
		check := rest.Check{Name: name + " at " + a.Addr}
		if a.Health != peer.Serving {
			check.Err = fault.New(fault.Unavailable, "replica_away", "%s", strings.TrimSuffix(string(a.Health)+": "+a.Error, ": "))
		}
		checks = append(checks, check)
	}
	return checks
}
