package paritytest

import (
	"context"
	"errors"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"cleave/platform/event"
)

// invoke makes a call, with a defect.
type invoke = func(ctx context.Context, c grpc.ClientConnInterface, method string, args, reply any, opts ...grpc.CallOption) error

var calls = map[string]invoke{
	// The code and the text cross, the reason does not.
	"fault_details_lost": func(ctx context.Context, c grpc.ClientConnInterface, method string, args, reply any, opts ...grpc.CallOption) error {
		err := c.Invoke(ctx, method, args, reply, opts...)
		if err == nil {
			return nil
		}
		return status.Error(status.Code(err), status.Convert(err).Message())
	},
	// What fails is answered as if it had not been tried.
	"fault_swallowed": func(ctx context.Context, c grpc.ClientConnInterface, method string, args, reply any, opts ...grpc.CallOption) error {
		_ = c.Invoke(ctx, method, args, reply, opts...) // this is the defect
		return nil
	},
	"deadline_lost": func(ctx context.Context, c grpc.ClientConnInterface, method string, args, reply any, opts ...grpc.CallOption) error {
		return c.Invoke(context.WithoutCancel(ctx), method, args, reply, append(opts, grpc.WaitForReady(true))...)
	},
	// The callee reads a request without its fields.
	"request_emptied": func(ctx context.Context, c grpc.ClientConnInterface, method string, args, reply any, opts ...grpc.CallOption) error {
		m, ok := args.(proto.Message)
		if !ok {
			return errors.New("not a message")
		}
		return c.Invoke(ctx, method, m.ProtoReflect().New().Interface(), reply, opts...)
	},
}

type call struct {
	grpc.ClientConnInterface
	defect invoke
}

// Invoke implements grpc.ClientConnInterface.
func (c *call) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	return c.defect(ctx, c.ClientConnInterface, method, args, reply, opts...)
}

// pipes change what a publisher hands over; what is returned is delivered.
var pipes = map[string]func([]event.Envelope) []event.Envelope{
	// As if the broker gave it again and the id that tells did not cross.
	"event_twice": func(all []event.Envelope) []event.Envelope {
		for _, e := range all {
			e.ID = uuid.NewString()
			all = append(all, e)
		}
		return all
	},
	"event_key_lost":   each(func(e *event.Envelope) { e.Key = "" }),
	"event_cause_lost": each(func(e *event.Envelope) { e.Causation = "" }),
	"event_cut": each(func(e *event.Envelope) {
		const id = 38 // the first field of every event: tag, length and a UUID
		if len(e.Payload) > id {
			e.Payload = e.Payload[:id]
		}
	}),
}

func each(fn func(*event.Envelope)) func([]event.Envelope) []event.Envelope {
	return func(all []event.Envelope) []event.Envelope {
		changed := make([]event.Envelope, len(all))
		for i, e := range all {
			fn(&e)
			changed[i] = e
		}
		return changed
	}
}

type pipe struct {
	event.Pipe
	defect func([]event.Envelope) []event.Envelope
}

// Deliver implements event.Pipe.
func (p *pipe) Deliver(ctx context.Context, source string, events []event.Envelope) error {
	return p.Pipe.Deliver(ctx, source, p.defect(events))
}
