// Package event delivers what happened in one module to the others: published
// in the business transaction, delivered at least once, effective exactly once.
//
// Publish writes to the module's own outbox, so the event and the rows it tells
// of commit together. A relay moves outbox rows through a Pipe into the inbox
// of every subscriber, and a worker per subscriber handles them in the inbox
// transaction. Events of one key keep their order: a failing event holds back
// its successors of the same key and nobody else.
package event

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
)

// Type is a kind of event, named by the full name of its protobuf message.
//
// It holds a nil message rather than the name, because generated code knows its
// names only after the package's variables, such as Types, are initialised.
type Type struct{ message proto.Message }

// Name is the protobuf full name, which is also the CloudEvents type.
func (t Type) Name() string { return string(t.message.ProtoReflect().Descriptor().FullName()) }

// Define declares the event type whose payload is T. A module declares its
// types in its v1 package.
func Define[T proto.Message]() Type {
	var zero T
	return Type{message: zero}
}

// Meta are the attributes of an event (CloudEvents 1.0).
type Meta struct {
	ID          string // UUIDv7, unique per event
	Type        string
	Source      string // the publishing module
	Key         string // events of one key are handled in the order of publishing
	Time        time.Time
	Traceparent string // W3C Trace Context of the publisher; "" without a trace
	Causation   string // the id of the event or request that was handled when this one was published; "" without one
}

// Handler is a module's named reaction to one event type.
type Handler struct {
	Type     Type
	Name     string
	handle   func(ctx context.Context, m Meta, payload []byte) error
	policy   Options // fields that are set replace the bus's
	formerly []string
	history  bool
}

// Option changes how one handler's events are delivered.
type Option func(*Handler)

// Attempts is how often the handler is tried before an event is a dead letter,
// instead of events.max_attempts.
func Attempts(n int) Option { return func(h *Handler) { h.policy.MaxAttempts = n } }

// Backoff is the pause after a failed attempt, which doubles from least to
// most, instead of events.backoff_min and events.backoff_max.
func Backoff(least, most time.Duration) Option {
	return func(h *Handler) { h.policy.BackoffMin, h.policy.BackoffMax = least, most }
}

// Timeout is how long one run of the handler may take; default 10 s. Its
// context ends then, and a handler that ignores that is given up after as long
// again, at most a second.
func Timeout(d time.Duration) Option { return func(h *Handler) { h.policy.Timeout = d } }

// Batch is how many events share a transaction, instead of events.batch. It
// should be 1 for a handler that locks rows for which requests wait, too: the
// rows of one event stay locked while the next one's are waited for, which no
// order of locking within the handler can keep from being a deadlock.
func Batch(n int) Option { return func(h *Handler) { h.policy.Batch = n } }

// Formerly makes the handler the successor of one with another name, in the
// same module and of the same type: it takes over what waits for that name and
// what it has handled, so that nothing is lost or repeated. Both may run during
// a rolling deployment; an event of which a replica of the old release hears
// then can overtake an earlier one of its key that had to wait. It can go once
// no such replica is left.
func Formerly(name string) Option {
	return func(h *Handler) { h.formerly = append(h.formerly, name) }
}

// FromBeginning asks for history: a new handler receives first the events that
// are still kept, in their order, each once, and then those to come. In process
// the publishing module keeps them for events.history; a broker as long as it
// is told to. Without FromBeginning a new handler begins with the events that
// are delivered once it is there.
func FromBeginning() Option { return func(h *Handler) { h.history = true } }

// On makes fn the handler of t under name. The name identifies the subscriber
// durably: another name is another subscriber, which has seen nothing, unless
// it says Formerly.
//
// fn runs inside the transaction of its module's database that also marks the
// event as handled, so its writes happen exactly once. It must not call other
// modules. Fields of e that a newer release has added are in its unknown fields.
//
// An error is retried with backoff and then kept as a dead letter, as a panic
// is; a fault that a retry cannot mend (Invalid, NotFound, Unprocessable), a
// payload that is not a T and a handler that does not return are dead at once.
// Until then the event holds back the later ones of its key, and nobody else;
// afterwards those go on without it. See RetryDead.
func On[T proto.Message](t Type, name string, fn func(ctx context.Context, m Meta, e T) error, options ...Option) Handler {
	h := Handler{Type: t, Name: name, handle: func(ctx context.Context, m Meta, payload []byte) error {
		var zero T
		e, ok := zero.ProtoReflect().New().Interface().(T)
		if !ok {
			return fmt.Errorf("make a %s: wrong message type", t.Name())
		}
		if err := proto.Unmarshal(payload, e); err != nil {
			return undecodable(t, err)
		}
		return fn(ctx, m, e)
	}}
	for _, option := range options {
		option(&h)
	}
	return h
}

// options are o with the handler's own policy.
func (h Handler) options(o Options) Options {
	p := h.policy
	setDefault(&p.MaxAttempts, o.MaxAttempts)
	setDefault(&p.BackoffMin, o.BackoffMin)
	setDefault(&p.BackoffMax, o.BackoffMax)
	setDefault(&p.Timeout, o.Timeout)
	setDefault(&p.Batch, o.Batch)
	o.MaxAttempts, o.BackoffMin, o.BackoffMax, o.Timeout, o.Batch = p.MaxAttempts, p.BackoffMin, p.BackoffMax, p.Timeout, p.Batch
	return o
}
