package rpc

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Services are the services of the modules that a process runs, for the server
// that other processes call. Modules come and go while it serves, which a
// grpc.Server does not know of: give it Serve as its UnknownServiceHandler.
type Services struct {
	mu      sync.RWMutex
	methods map[string]*served // PACKAGE.SERVICE/METHOD
	modules map[string]*offer
}

// offer is what one module serves, from Add to Remove.
type offer struct {
	methods []string
	active  atomic.Int64
}

type served struct {
	offer     *offer
	handler   grpc.MethodHandler
	impl      any
	intercept grpc.UnaryServerInterceptor
}

// NewServices serves nothing yet.
func NewServices() *Services {
	return &Services{methods: map[string]*served{}, modules: map[string]*offer{}}
}

// Add serves what register registers, each call through intercept. A second Add for a module replaces the first.
func (s *Services) Add(module string, intercept grpc.UnaryServerInterceptor, register func(grpc.ServiceRegistrar)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := &offer{}
	s.modules[module] = o
	register(registrar(func(desc *grpc.ServiceDesc, impl any) {
		for _, m := range desc.Methods {
			name := desc.ServiceName + "/" + m.MethodName
			s.methods[name] = &served{offer: o, handler: m.Handler, impl: impl, intercept: intercept}
			o.methods = append(o.methods, name)
		}
	}))
}

type registrar func(desc *grpc.ServiceDesc, impl any)

func (r registrar) RegisterService(desc *grpc.ServiceDesc, impl any) { r(desc, impl) }

// Remove refuses calls of the module that begin from now on as Unavailable, and waits for those under way, at most until ctx ends.
func (s *Services) Remove(ctx context.Context, module string) error {
	s.mu.Lock()
	o := s.modules[module]
	delete(s.modules, module)
	if o != nil {
		for _, name := range o.methods {
			if s.methods[name].offer == o {
				delete(s.methods, name)
			}
		}
	}
	s.mu.Unlock()
	if o == nil {
		return nil
	}
	return Drained(ctx, &o.active)
}

// Drained waits until nothing is active.
func Drained(ctx context.Context, active *atomic.Int64) error {
	const every = 2 * time.Millisecond
	for active.Load() > 0 {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d calls are still under way: %w", active.Load(), ctx.Err())
		case <-time.After(every):
		}
	}
	return nil
}

// begin returns the method and counts the call; who gets one must end it.
func (s *Services) begin(method string) *served {
	s.mu.RLock()
	defer s.mu.RUnlock()
	m := s.methods[method]
	if m != nil {
		m.offer.active.Add(1)
	}
	return m
}

// Serve answers one unary call.
func (s *Services) Serve(_ any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	m := s.begin(strings.TrimPrefix(method, "/"))
	if m == nil {
		return status.Error(codes.Unavailable, "this process does not run the module")
	}
	defer m.offer.active.Add(-1)
	resp, err := m.handler(m.impl, stream.Context(), stream.RecvMsg, m.intercept)
	if err != nil {
		return err
	}
	return stream.SendMsg(resp)
}
