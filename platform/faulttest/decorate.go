package faulttest

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5/pgconn"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"cleave/platform/event"
	"cleave/platform/module"
)

// errPlanned is what everything that fails by plan says.
var errPlanned = errors.New("a planned fault")

// Faults are what module.Options takes: the plan for all that modules stand on.
func (p *Plan) Faults() module.Faults {
	return module.Faults{Commit: p.Commit, Conn: p.Conn, Pipe: p.Pipe}
}

// Commit stands around a commit of a module's database. Fail and Lose look like
// a connection that broke, before or after the commit; Repeat is a
// serialization failure, after which the transaction is run again.
func (p *Plan) Commit(ctx context.Context, module string, commit func() error) error {
	return p.run(ctx, "commit of "+module, operation{
		do: commit,
		repeat: func() error {
			const serializationFailure = "40001" // PostgreSQL documentation, appendix A
			return &pgconn.PgError{Severity: "ERROR", Code: serializationFailure, Message: errPlanned.Error()}
		},
		fails: func() error { return fmt.Errorf("%w: %w", errPlanned, io.ErrUnexpectedEOF) },
	})
}

// Conn stands around the calls of module from to module to.
func (p *Plan) Conn(from, to string, c grpc.ClientConnInterface) grpc.ClientConnInterface {
	return &conn{ClientConnInterface: c, plan: p, site: from + " calls "}
}

type conn struct {
	grpc.ClientConnInterface
	plan *Plan
	site string
}

// Invoke implements grpc.ClientConnInterface.
func (c *conn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	do := func() error { return c.ClientConnInterface.Invoke(ctx, method, args, reply, opts...) }
	return c.plan.run(ctx, c.site+method, operation{
		do: do,
		repeat: func() error {
			first := do()
			if m, ok := reply.(proto.Message); ok && first == nil {
				proto.Reset(m)
			}
			return do()
		},
		fails: func() error {
			if m, ok := reply.(proto.Message); ok {
				proto.Reset(m)
			}
			return status.Error(codes.Unavailable, errPlanned.Error())
		},
	})
}

// Pipe stands around a pipe: what goes in from the outboxes, and what comes out
// for the inboxes.
func (p *Plan) Pipe(next event.Pipe) event.Pipe { return &pipe{Pipe: next, plan: p} }

type pipe struct {
	event.Pipe
	plan *Plan
}

func failsPlanned() error { return errPlanned }

// Deliver implements event.Pipe.
func (p *pipe) Deliver(ctx context.Context, source string, events []event.Envelope) error {
	do := func() error { return p.Pipe.Deliver(ctx, source, events) }
	return p.plan.run(ctx, "deliver from "+source, operation{do: do, fails: failsPlanned, repeat: func() error {
		if err := do(); err != nil {
			return err
		}
		return do()
	}})
}

// Receive implements event.Pipe.
func (p *pipe) Receive(ctx context.Context, sub event.Subscription, accept func(context.Context, []event.Envelope) error) error {
	return p.Pipe.Receive(ctx, sub, func(ctx context.Context, events []event.Envelope) error {
		do := func() error { return accept(ctx, events) }
		return p.plan.run(ctx, "receive for "+sub.Subscriber, operation{do: do, fails: failsPlanned, repeat: func() error {
			if err := do(); err != nil {
				return err
			}
			return do()
		}})
	})
}
