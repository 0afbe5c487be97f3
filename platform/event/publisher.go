package event

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	"cleave/platform/db"
	"cleave/platform/fault"
	"cleave/platform/telemetry"
	"cleave/platform/traffic"
)

// Publisher writes one module's events to its outbox.
type Publisher struct {
	module  string
	db      *db.DB
	allowed map[string]bool
	now     func() time.Time
	newID   func() string
	nudge   func()
}

// Publish records msg as having happened to the aggregate key. It must be
// called inside a transaction of the module's database and after the rows the
// event tells of: the event exists if and only if that transaction commits,
// and the order of events per key is the order of the transactions that held
// the aggregate's row. It fails with an Internal fault outside a transaction
// and for a type that the module's Spec does not publish.
func (p *Publisher) Publish(ctx context.Context, key string, msg proto.Message) error {
	name := string(msg.ProtoReflect().Descriptor().FullName())
	if !p.allowed[name] {
		return fault.New(fault.Internal, "event_undeclared", "module %s does not declare that it publishes %s", p.module, name)
	}
	payload, err := proto.Marshal(msg)
	if err != nil {
		return fault.New(fault.Internal, "event_unencodable", "internal error").Wrap(err)
	}
	row := outboxRow{
		ID: p.newID(), Type: name, Key: key, At: db.Micros(p.now()),
		Traceparent: telemetry.Traceparent(ctx), Causation: causation(ctx), Payload: payload,
	}
	if err := p.db.Queue(ctx).Exec(
		"INSERT INTO outbox (id, type, key, at, traceparent, causation, payload) VALUES (?, ?, ?, ?, ?, ?, ?)",
		row.ID, row.Type, row.Key, row.At, row.Traceparent, row.Causation, row.Payload).Error; err != nil {
		return fault.From(err)
	}
	source := traffic.From(ctx)
	p.db.AfterCommit(ctx, func() {
		source.Published(name, len(payload))
		p.nudge()
	})
	return nil
}

type causeKey struct{}

// withCause is ctx for the handling of the event with the given id.
func withCause(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, causeKey{}, id)
}

// causation is the id of the event, else of the request, that ctx handles.
func causation(ctx context.Context) string {
	if id, ok := ctx.Value(causeKey{}).(string); ok {
		return id
	}
	return telemetry.RequestID(ctx)
}
