package rpc

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"cleave/platform/auth"
)

// Channel carries calls inside one process as a network would: the callee runs in a goroutine of its own, on messages of its own, with
// no value of the caller's context, and the caller leaves it when the deadline passes. What crosses is what Edge sends.
type Channel struct {
	callee   callee
	wire     wire
	waiters  sync.Pool
	methods  map[string]localMethod // by /PACKAGE.SERVICE/METHOD
	services map[string]grpc.ServiceInfo
}

type localMethod struct {
	handle  grpc.MethodHandler
	service any
}

var (
	_ grpc.ClientConnInterface = (*Channel)(nil)
	_ grpc.ServiceRegistrar    = (*Channel)(nil)
)

// NewInProcess returns the channel on which a module's service is registered and called inside one process.
func NewInProcess(access Access, log *slog.Logger) *Channel {
	return &Channel{callee: callee{Local{}, access, log}, methods: map[string]localMethod{}, services: map[string]grpc.ServiceInfo{}}
}

// RegisterService adds a service's unary methods. All must be registered before the first call.
func (c *Channel) RegisterService(desc *grpc.ServiceDesc, service any) {
	info := grpc.ServiceInfo{Metadata: desc.Metadata}
	for _, m := range desc.Methods {
		c.methods["/"+desc.ServiceName+"/"+m.MethodName] = localMethod{m.Handler, service}
		info.Methods = append(info.Methods, grpc.MethodInfo{Name: m.MethodName})
	}
	for _, s := range desc.Streams {
		info.Methods = append(info.Methods, grpc.MethodInfo{Name: s.StreamName, IsClientStream: s.ClientStreams, IsServerStream: s.ServerStreams})
	}
	c.services[desc.ServiceName] = info
}

// GetServiceInfo describes the registered services, as grpc.Server does.
func (c *Channel) GetServiceInfo() map[string]grpc.ServiceInfo { return c.services }

// NewStream always fails; see Edge.NewStream.
func (c *Channel) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, status.Error(codes.Unimplemented, "calls between modules are unary")
}

// Invoke performs a call with the outgoing metadata of ctx, which an Edge before another connection that ends here has written. It
// ignores call options: modules have no headers of their own.
func (c *Channel) Invoke(ctx context.Context, method string, args, reply any, _ ...grpc.CallOption) error {
	md, _ := metadata.FromOutgoingContext(ctx)
	return c.call(ctx, time.Now(), readHeader(carrier(md)), method, args, reply)
}

// call performs a call that began at start, with the header h. What goes wrong comes back as a status.
func (c *Channel) call(ctx context.Context, start time.Time, h header, method string, args, reply any) error {
	m, ok := c.methods[method]
	if !ok {
		return status.Errorf(codes.Unimplemented, "unknown method %s", method)
	}
	message, err := c.wire.encode(c.wire.buffer(), args)
	if err != nil {
		return err
	}
	w := c.waiter()
	var late <-chan time.Time // unless ctx ends in time by itself
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = start.Add(DefaultTimeout)
	}
	if !ok || ctx.Done() == nil {
		w.timer.Reset(time.Until(deadline))
		late = w.timer.C
	}
	l := &localCall{channel: c, header: h, method: method, target: m, message: message, done: w.done}
	l.context.deadline = deadline
	go l.run(auth.Pass(carryTrace(&l.context, ctx), ctx))
	select {
	case <-w.done:
		l.context.end(context.Canceled)
	case <-ctx.Done():
		l.context.end(ctx.Err())
		return status.FromContextError(ctx.Err()).Err()
	case <-late:
		l.context.end(context.DeadlineExceeded)
		return status.FromContextError(context.DeadlineExceeded).Err()
	}
	if late != nil {
		w.timer.Stop()
	}
	c.waiters.Put(w)
	if l.err != nil {
		if err := ended(ctx, deadline); err != nil {
			return status.FromContextError(err).Err()
		}
		return l.err
	}
	err = decode(l.message, reply)
	c.wire.keep(l.message)
	return err
}

// ended is why a callee's error comes too late to count: between processes the caller learns of the end of its context first.
func ended(ctx context.Context, deadline time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return nil
}

// waiter is what a caller waits with. It serves the next call when this one was answered; otherwise its callee still has it.
type waiter struct {
	done  chan struct{}
	timer *time.Timer
}

func (c *Channel) waiter() *waiter {
	if w, ok := c.waiters.Get().(*waiter); ok {
		return w
	}
	w := &waiter{make(chan struct{}, 1), time.NewTimer(DefaultTimeout)}
	w.timer.Stop()
	return w
}

// localCall is a call under way. The callee's goroutine owns it until it has told done.
type localCall struct {
	context calleeContext
	channel *Channel
	header  header
	method  string
	target  localMethod
	message *[]byte // the request, then the response
	err     error
	done    chan<- struct{}
}

func (l *localCall) run(ctx context.Context) {
	growStack(len(l.method))
	defer func() { l.done <- struct{}{} }()
	l.err = errEnded // by runtime.Goexit, unless the callee returns
	response, err := l.channel.callee.answer(ctx, ctx, &l.header, l.method, func(ctx context.Context) (any, error) {
		return l.target.handle(l.target.service, ctx, l.decode, nil)
	})
	if err == nil {
		l.message, err = l.channel.wire.encode(l.message, response)
	}
	l.err = err
}

func (l *localCall) decode(in any) error { return decode(l.message, in) }

// carryTrace is ctx with what the propagators of a network would take along from the other context.
func carryTrace(ctx, from context.Context) context.Context {
	if span := trace.SpanContextFromContext(from); span.IsValid() {
		ctx = trace.ContextWithRemoteSpanContext(ctx, span)
	}
	if b := baggage.FromContext(from); b.Len() > 0 {
		ctx = baggage.ContextWithBaggage(ctx, b)
	}
	return ctx
}

var errEnded = status.Error(codes.Internal, "the callee's goroutine ended")

// stackRoom is what the stack of a callee's goroutine grows to hold at once, in bytes.
const stackRoom = 6 << 10

// growStack makes the goroutine's stack large enough for most of what a callee does, while there is nothing on it that would have to
// be moved. To double it time and again from within the callee took a third of the time of a call. To be entered is enough: the room
// is not cleared, for n is never negative.
//
//go:noinline
func growStack(n int) byte {
	if n >= 0 {
		return 0
	}
	var room [stackRoom]byte
	return room[-n%stackRoom]
}
