// Package rpc carries calls between modules: the same generated gRPC client
// and server, in one process over an in-process channel or across processes
// over a connection, with the same interceptors around both.
//
// The client half lives in Edge and the server half in ServerInterceptor. Both
// behave the same on every transport; a test runs one table of behaviours on
// each.
package rpc

import (
	"context"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"cleave/platform/auth"
	"cleave/platform/db"
	"cleave/platform/fault"
	"cleave/platform/telemetry"
	"cleave/platform/traffic"
)

// DefaultTimeout bounds a call whose context has no deadline.
const DefaultTimeout = 5 * time.Second

// Metadata keys that the interceptor pair exchanges.
const (
	callerKey    = "cleave-caller"
	principalKey = "cleave-principal"
	requestIDKey = "cleave-request-id"
)

// Edge is one module's connection to another: a grpc.ClientConnInterface whose
// target can be switched while calls are under way. Each call uses the target
// that was current when it began.
type Edge struct {
	from, to string
	target   atomic.Pointer[target]
	calls    atomic.Int64
	faults   atomic.Int64
	nanos    atomic.Int64
	observer Observer
	traffic  *traffic.Edge

	comparing atomic.Pointer[comparison]
}

// target is where calls go, and how the end user travels there.
type target struct {
	identity Identity
	conn     grpc.ClientConnInterface
	local    *Channel     // conn, when it is one
	active   atomic.Int64 // calls
}

// Observer learns how each call ended; err is nil when it succeeded.
type Observer interface {
	Called(caller, callee, method string, took time.Duration, err error)
}

// Observe reports the edge's calls to o. It must come before the first call.
func (e *Edge) Observe(o Observer) { e.observer = o }

// Count counts the edge's calls in t. It must come before the first call.
func (e *Edge) Count(t *traffic.Edge) { e.traffic = t }

// NewEdge returns the edge on which module from calls module to.
func NewEdge(from, to string, identity Identity, conn grpc.ClientConnInterface) *Edge {
	e := &Edge{from: from, to: to}
	e.Switch(identity, conn)
	return e
}

// Switch makes conn serve the calls that begin from now on. The function that
// it returns waits for those under way, at most until its context ends.
func (e *Edge) Switch(identity Identity, conn grpc.ClientConnInterface) (wait func(context.Context) error) {
	before := e.target.Swap(newTarget(identity, conn))
	return func(ctx context.Context) error {
		if before == nil {
			return nil
		}
		return Drained(ctx, &before.active)
	}
}

func newTarget(identity Identity, conn grpc.ClientConnInterface) *target {
	local, _ := conn.(*Channel)
	return &target{identity: identity, conn: conn, local: local}
}

// enter returns the target for a call, which counts as one of its own until it
// leaves.
func (e *Edge) enter() *target {
	to := e.target.Load()
	for {
		to.active.Add(1)
		now := e.target.Load()
		if now == to {
			return to
		}
		to.active.Add(-1) // whoever switched may not have seen this call
		to = now
	}
}

// Stats are an edge's counters since the process started.
type Stats struct {
	From, To string
	Calls    int64
	Faults   int64         // calls that ended in a fault of any kind
	Busy     time.Duration // summed over calls
}

// Stats returns the edge's counters; they are read one by one, so they may be
// a call apart from each other.
func (e *Edge) Stats() Stats {
	return Stats{From: e.from, To: e.to, Calls: e.calls.Load(), Faults: e.faults.Load(), Busy: time.Duration(e.nanos.Load())}
}

// Invoke performs a unary call. It refuses with an Internal fault while ctx
// carries an open transaction: the callee could not see its rows when it is in
// another process, and the transaction would stay open for as long as the
// network takes. Every error it returns is a *fault.Error.
func (e *Edge) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	if db.InTx(ctx) {
		return fault.New(fault.Internal, "call_in_transaction", "internal error").
			Wrap(fault.New(fault.Internal, "", "%s calls %s inside a transaction; call before it begins or from a saga step", e.from, method))
	}
	ctx, span := telemetry.StartClient(ctx, method)
	start := time.Now()
	to := e.enter()
	err := fromStatus(method, e.send(ctx, start, to, method, args, reply, opts))
	to.active.Add(-1)
	took := time.Since(start)
	e.nanos.Add(int64(took))
	e.calls.Add(1)
	if err != nil {
		e.faults.Add(1)
	}
	if e.observer != nil {
		e.observer.Called(e.from, e.to, method, took, err)
	}
	e.traffic.Called(ctx, method, args, reply, took, err)
	telemetry.End(span, err)
	if c := e.comparing.Load(); c != nil && err == nil {
		c.read(ctx, method, args, reply)
	}
	return err
}

// NewStream always fails: modules call each other with unary methods only, so
// that every call can be retried, batched and moved.
func (e *Edge) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, fault.New(fault.Internal, "streaming_refused", "calls between modules are unary")
}

// send carries the call, which began at start, to one of the targets.
func (e *Edge) send(ctx context.Context, start time.Time, to *target, method string, args, reply any, opts []grpc.CallOption) error {
	h := header{caller: e.from, requestID: telemetry.RequestID(ctx)}
	if to.local != nil {
		return to.local.call(ctx, start, h, method, args, reply)
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, DefaultTimeout)
		defer cancel()
	}
	pairs, err := h.pairs(ctx, to.identity)
	if err != nil {
		return fault.New(fault.Internal, "", "internal error").Wrap(err)
	}
	if _, has := metadata.FromOutgoingContext(ctx); has {
		ctx = metadata.NewOutgoingContext(ctx, nil)
	}
	return to.conn.Invoke(metadata.AppendToOutgoingContext(ctx, pairs...), method, args, reply, opts...)
}

// pairs are the keys and values that cross an edge, and nothing else does, whatever metadata the caller held.
func (h *header) pairs(ctx context.Context, identity Identity) (pairs, error) {
	p := append(make(pairs, 0, 6), callerKey, h.caller)
	if who, ok := auth.From(ctx); ok {
		token, err := identity.Encode(ctx, who)
		if err != nil {
			return nil, err
		}
		p = append(p, principalKey, token)
	}
	if h.requestID != "" {
		p = append(p, requestIDKey, h.requestID)
	}
	otel.GetTextMapPropagator().Inject(ctx, &p)
	return p, nil
}

// pairs lets the trace propagator write gRPC metadata.
type pairs []string

var _ propagation.TextMapCarrier = (*pairs)(nil)

func (p *pairs) Set(key, value string) { *p = append(*p, key, value) }
func (*pairs) Get(string) string       { return "" }
func (*pairs) Keys() []string          { return nil }

// carrier lets the trace propagator read gRPC metadata.
type carrier metadata.MD

var _ propagation.TextMapCarrier = carrier(nil)

func (c carrier) Get(key string) string {
	if v := metadata.MD(c).Get(key); len(v) > 0 {
		return v[0]
	}
	return ""
}

func (c carrier) Set(key, value string) { metadata.MD(c).Set(key, value) }

func (c carrier) Keys() []string {
	keys := make([]string, 0, len(c))
	for k := range c {
		keys = append(keys, k)
	}
	return keys
}
