package module

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"cleave/platform/auth"
	"cleave/platform/fault"
	"cleave/platform/front"
	frontv1 "cleave/platform/front/v1"
	"cleave/platform/peer"
	"cleave/platform/rest"
	"cleave/platform/rpc"
	"cleave/platform/trust"
)

// links are the connections between this process and those that run other
// modules, or call the ones of this process.
type links struct {
	self     *trust.Identity
	peers    map[string]*peer.Peer // by module
	listener net.Listener
	server   *grpc.Server
	health   *health.Server
	accounts map[string]*auth.Issuers // that verify service-account tokens, by the module of this process that they are for
}

// connect begins to connect to the modules of other processes, and binds the
// listener on which they reach this one. It waits for nobody: processes may be
// started in any order.
func (h *Host) connect(ctx context.Context) (err error) {
	t := h.cfg.Topology
	h.links = &links{peers: map[string]*peer.Peer{}}
	if t.Addr == "" && len(h.away) == 0 {
		return nil
	}
	h.links.self, err = trust.Load(t.TLSCert, t.TLSKey, t.TLSCA, h.o.Log, h.o.Now)
	if err != nil {
		return fmt.Errorf("topology.tls_cert, topology.tls_key, topology.tls_ca: %w", err)
	}
	for _, s := range h.here {
		if !slices.Contains(h.links.self.Modules(), s.Name) {
			return fmt.Errorf("topology.tls_cert is for %s, and this process runs the module %s: use a certificate that names it", h.links.self.ID(), s.Name)
		}
	}
	if err := h.useAccounts(); err != nil {
		return err
	}
	for _, s := range h.away {
		token, err := h.links.self.CallCredentials(s.Name)
		if err != nil {
			return fmt.Errorf("topology.token_file: %w", err)
		}
		h.links.peers[s.Name], err = peer.Dial(peer.Options{
			Module: s.Name, Target: t.Peers[s.Name], Credentials: h.links.self.ClientCredentials(s.Name), PerCall: token, Log: h.o.Log, Now: h.o.Now,
		})
		if err != nil {
			return fmt.Errorf("topology.peers.%s: %w", s.Name, err)
		}
	}
	if t.Addr == "" {
		return nil
	}
	h.links.listener, err = new(net.ListenConfig).Listen(ctx, "tcp", t.Addr)
	if err != nil {
		return fmt.Errorf("listen on topology.addr %s: %w", t.Addr, err)
	}
	return nil
}

// serveProcesses answers other processes: calls of the modules that run here,
// and requests of clients that they took.
func (h *Host) serveProcesses() {
	l := h.links
	if l.listener == nil {
		return
	}
	callees := map[string]grpc.UnaryServerInterceptor{} // by gRPC service
	l.server = grpc.NewServer(append(append(peer.ServerOptions(), trust.Guard()...),
		grpc.Creds(l.self.ServerCredentials()),
		grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
			service, _, _ := strings.Cut(strings.TrimPrefix(info.FullMethod, "/"), "/")
			if callee := callees[service]; callee != nil {
				return callee(ctx, req, info, handler)
			}
			return handler(ctx, req)
		}))...)
	l.health = health.NewServer()
	for _, r := range h.running {
		if r.parts.RPC != nil {
			before := l.server.GetServiceInfo()
			r.parts.RPC(h.traffic.Registrar(r.spec.Name, l.server))
			for service := range l.server.GetServiceInfo() {
				if _, ok := before[service]; !ok {
					callees[service] = rpc.ServerInterceptor(l.self.Calls(r.spec.Name), h.policy, h.o.Log)
				}
			}
		}
		l.health.SetServingStatus(r.spec.Name, grpc_health_v1.HealthCheckResponse_SERVING)
	}
	grpc_health_v1.RegisterHealthServer(l.server, l.health)
	frontv1.RegisterFrontServiceServer(l.server, front.NewServer(h.api.Handler(), h.o.Log))
	h.addLine("processes", l.listener.Addr().String())
	server, listener := l.server, l.listener
	go func() {
		if err := server.Serve(listener); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			h.fail(fmt.Errorf("serve other processes: %w", err))
		}
	}()
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

// checks are the states of the connections, for /readyz. They are no condition
// of readiness: a process whose peer is away still answers what it can.
func (l *links) checks(away []Spec) (checks []rest.Check) {
	for _, s := range away {
		check := rest.Check{Name: "module " + s.Name}
		if state := l.peers[s.Name].State(); state.Status != peer.Ready {
			check.Err = fault.New(fault.Unavailable, "module_away", "the connection is %s: %s", state.Status, state.Error)
		}
		checks = append(checks, check)
	}
	return checks
}
