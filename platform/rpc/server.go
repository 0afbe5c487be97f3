package rpc

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"runtime/debug"

	"github.com/fullstorydev/grpchan/inprocgrpc"
	"go.opentelemetry.io/otel"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"cleave/platform/auth"
	"cleave/platform/fault"
	"cleave/platform/telemetry"
)

// Identity writes the end user of a call into its metadata and reads it back.
type Identity interface {
	Encode(p auth.Principal) (string, error)
	// Decode returns an Unauthenticated fault for a token it does not accept.
	Decode(token string) (auth.Principal, error)
}

// Local is the Identity inside one process, where nobody else can write
// metadata. It must not be used on a transport that others can reach.
type Local struct{}

// Encode writes p as JSON.
func (Local) Encode(p auth.Principal) (string, error) {
	b, err := json.Marshal(p)
	return string(b), err
}

// Decode reads what Encode wrote.
func (Local) Decode(token string) (auth.Principal, error) {
	var p auth.Principal
	if err := json.Unmarshal([]byte(token), &p); err != nil {
		return p, fault.New(fault.Unauthenticated, "", "the call's identity is malformed").Wrap(err)
	}
	return p, nil
}

// NewInProcess returns the channel on which a module's service is registered
// and called inside one process. Messages are cloned, and neither context
// values nor error causes cross it.
func NewInProcess(log *slog.Logger) *inprocgrpc.Channel {
	return new(inprocgrpc.Channel).WithServerUnaryInterceptor(ServerInterceptor(Local{}, log))
}

// ServerInterceptor is the callee's half of the pair: it restores request id,
// trace and principal, turns a panic into an Internal fault, logs Internal
// faults with their cause, and maps faults to statuses.
func ServerInterceptor(identity Identity, log *slog.Logger) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		md, _ := metadata.FromIncomingContext(ctx)
		ctx = otel.GetTextMapPropagator().Extract(ctx, carrier(md))
		if id := carrier(md).Get(requestIDKey); id != "" {
			ctx = telemetry.WithRequestID(ctx, id)
		}
		ctx, span := telemetry.StartServer(ctx, info.FullMethod)
		resp, err := func() (resp any, err error) {
			if token := carrier(md).Get(principalKey); token != "" {
				p, err := identity.Decode(token)
				if err != nil {
					return nil, err
				}
				ctx = auth.With(ctx, p)
			}
			return recovered(ctx, req, handler)
		}()
		telemetry.End(span, err)
		if err != nil {
			if fault.KindOf(err) == fault.Internal {
				log.ErrorContext(ctx, "call failed", "method", info.FullMethod, "caller", carrier(md).Get(callerKey), "error", err)
			}
			return nil, toStatus(err)
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
