package rpc

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"

	"github.com/fullstorydev/grpchan/inprocgrpc"
	"go.opentelemetry.io/otel"
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

// NewInProcess returns the channel on which a module's service is registered
// and called inside one process. Messages are cloned, and neither context
// values nor error causes cross it.
func NewInProcess(access Access, log *slog.Logger) *inprocgrpc.Channel {
	return new(inprocgrpc.Channel).WithServerUnaryInterceptor(ServerInterceptor(Local{}, access, log)).WithCloner(&wire{})
}

// authorise refuses, with a Forbidden fault, a module that may not call the method, code caller_denied, and a principal without
// the permission that the method asks for. The context it returns carries the principal and the decision, for auth.Owner.
func authorise(ctx context.Context, method string, md metadata.MD, identity Identity, access Access) (context.Context, error) {
	caller := carrier(md).Get(callerKey)
	if err := identity.Admit(ctx, caller); err != nil {
		return ctx, err
	}
	permission, ok := access.MayCall(caller, strings.TrimPrefix(method, "/"))
	if !ok {
		return ctx, fault.New(fault.Forbidden, "caller_denied", "the module %q may not call %s", caller, method)
	}
	token := carrier(md).Get(principalKey)
	if token == "" {
		return ctx, nil
	}
	p, err := identity.Decode(ctx, token)
	if err != nil {
		return ctx, err
	}
	ctx = auth.With(ctx, p)
	if permission == "" {
		return ctx, nil
	}
	d := access.Decide(p, permission)
	if d == auth.Deny {
		return ctx, fault.New(fault.Forbidden, "permission_denied", "this needs the permission %s", permission)
	}
	return auth.WithDecision(ctx, d), nil
}

// ServerInterceptor is the callee's half of the pair: it restores request id,
// trace and principal, asks access, turns a panic into an Internal fault, logs Internal
// faults with their cause, and maps faults to statuses.
func ServerInterceptor(identity Identity, access Access, log *slog.Logger) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		md, _ := metadata.FromIncomingContext(ctx)
		ctx = otel.GetTextMapPropagator().Extract(ctx, carrier(md))
		if id := carrier(md).Get(requestIDKey); id != "" {
			ctx = telemetry.WithRequestID(ctx, id)
		}
		ctx, span := telemetry.StartServer(ctx, info.FullMethod)
		resp, err := func() (resp any, err error) {
			ctx, err := authorise(ctx, info.FullMethod, md, identity, access)
			if err != nil {
				return nil, err
			}
			return recovered(ctx, req, handler)
		}()
		telemetry.End(span, err)
		if err != nil {
			if fault.KindOf(err) == fault.Internal {
				log.ErrorContext(ctx, "call failed", "method", info.FullMethod, "caller", carrier(md).Get(callerKey), "error", err)
			}
			return nil, Status(err)
		}
		return resp, nil
	}
}

func recovered(ctx context.Context, req any, handler grpc.UnaryHandler) (resp any, err error) {
	defer func() {
		if p := recover(); p != nil {
			resp, err = nil, fault.New(fault.Internal, "", "internal error").Wrap(fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
		}
	}()
	return handler(ctx, req)
}
