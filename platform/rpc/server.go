package rpc

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"cleave/platform/auth"
	"cleave/platform/fault"
	"cleave/platform/telemetry"
)

// Identity says on one transport who calls one callee, and for whom.
type Identity interface {
	// Admit returns a Forbidden fault, code caller_denied, when whoever sent the call in ctx may not speak for the module caller.
	Admit(ctx context.Context, caller string) error
	// Encode writes the end user of a call for its metadata.
	Encode(ctx context.Context, p auth.Principal) (string, error)
	// Decode reads what Encode wrote at the sender of the call in ctx. It returns an Unauthenticated fault for a token it does not
	// accept. What it returns may be shared: read only.
	Decode(ctx context.Context, token string) (auth.Principal, error)
}

// Local is the Identity inside one process, where nobody else can write
// metadata. It must not be used on a transport that others can reach.
type Local struct{}

// Admit believes every caller.
func (Local) Admit(context.Context, string) error { return nil }

// Encode writes p as JSON.
func (Local) Encode(_ context.Context, p auth.Principal) (string, error) {
	b, err := json.Marshal(p)
	return string(b), err
}

// Decode reads what Encode wrote.
func (Local) Decode(_ context.Context, token string) (auth.Principal, error) {
	var p auth.Principal
	if err := json.Unmarshal([]byte(token), &p); err != nil {
		return p, fault.New(fault.Unauthenticated, "", "the call's identity is malformed").Wrap(err)
	}
	return p, nil
}

// Access decides on calls, as auth.Policy does.
type Access interface {
	// MayCall reports whether the module caller may call the method PACKAGE.SERVICE/METHOD, and which permission the
	// principal of such a call needs, "" for none.
	MayCall(caller, method string) (permission string, ok bool)
	Decide(who auth.Principal, permission string) auth.Decision
}

// header is what a call carries besides its message.
type header struct {
	caller    string
	requestID string
	token     string // for Identity.Decode; "" for nobody, and inside one process, where the context carries the principal
}

func readHeader(c propagation.TextMapCarrier) header {
	return header{caller: c.Get(callerKey), requestID: c.Get(requestIDKey), token: c.Get(principalKey)}
}

// callee is the server half of the pair.
type callee struct {
	identity Identity
	access   Access
	log      *slog.Logger
}

// answer restores request id and principal in ctx, asks access, turns a panic into an Internal fault, logs Internal faults with their
// cause, and maps faults to statuses. Identity looks at the transport's context.
func (c *callee) answer(ctx, transport context.Context, h *header, method string, handle func(context.Context) (any, error)) (any, error) {
	if h.requestID != "" {
		ctx = telemetry.WithRequestID(ctx, h.requestID)
	}
	ctx, span := telemetry.StartServer(ctx, method)
	resp, err := c.authorised(ctx, transport, h, method, handle)
	telemetry.End(span, err)
	if err != nil {
		if fault.KindOf(err) == fault.Internal {
			c.log.ErrorContext(ctx, "call failed", "method", method, "caller", h.caller, "error", err)
		}
		return nil, Status(err)
	}
	return resp, nil
}

// authorised refuses, with a Forbidden fault, a module that may not call the method, code caller_denied, and a principal without
// the permission that the method asks for. The handler's context carries the principal and the decision, for auth.Owner.
func (c *callee) authorised(ctx, transport context.Context, h *header, method string, handle func(context.Context) (any, error)) (resp any, err error) {
	if err := c.identity.Admit(transport, h.caller); err != nil {
		return nil, err
	}
	permission, ok := c.access.MayCall(h.caller, strings.TrimPrefix(method, "/"))
	if !ok {
		return nil, fault.New(fault.Forbidden, "caller_denied", "the module %q may not call %s", h.caller, method)
	}
	if h.token != "" {
		p, err := c.identity.Decode(transport, h.token)
		if err != nil {
			return nil, err
		}
		ctx = auth.With(ctx, p)
	}
	if p, known := auth.From(ctx); known && permission != "" {
		d := c.access.Decide(p, permission)
		if d == auth.Deny {
			return nil, fault.New(fault.Forbidden, "permission_denied", "this needs the permission %s", permission)
		}
		ctx = auth.WithDecision(ctx, d)
	}
	defer func() {
		if p := recover(); p != nil {
			resp, err = nil, fault.New(fault.Internal, "", "internal error").Wrap(fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
		}
	}()
	return handle(ctx)
}

// ServerInterceptor is the callee's half of the pair on a network. What it calls sees nothing else of the connection, neither metadata
// nor certificates; other interceptors must come before it.
func ServerInterceptor(identity Identity, access Access, log *slog.Logger) grpc.UnaryServerInterceptor {
	c := &callee{identity, access, log}
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		h := readHeader(incoming{ctx})
		plain := otel.GetTextMapPropagator().Extract(bare{ctx}, incoming{ctx})
		return c.answer(plain, ctx, &h, info.FullMethod, func(ctx context.Context) (any, error) { return handler(ctx, req) })
	}
}

// incoming reads a call's metadata one by one; metadata.FromIncomingContext copies them all.
type incoming struct{ ctx context.Context }

func (i incoming) Get(key string) string {
	if v := metadata.ValueFromIncomingContext(i.ctx, key); len(v) > 0 {
		return v[0]
	}
	return ""
}

func (incoming) Set(string, string) {}
func (incoming) Keys() []string     { return nil }

// bare is a context without its values.
type bare struct{ context.Context }

func (bare) Value(any) any { return nil }

// AfterFunc lets the context package follow the end of the context without a goroutine.
func (b bare) AfterFunc(f func()) (stop func() bool) { return context.AfterFunc(b.Context, f) }
