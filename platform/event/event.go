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
	Type   Type
	Name   string
	handle func(ctx context.Context, m Meta, payload []byte) error
}

// On makes fn the handler of t under name. The name identifies the subscriber
// durably: renaming it makes a new subscriber that has seen nothing.
//
// fn runs inside the transaction of its module's database that also marks the
// event as handled, so its writes happen exactly once. It must not call other
// modules. An error is retried with backoff and then kept as a dead letter; a
// fault that a retry cannot mend (Invalid, NotFound, Unprocessable) is dead at
// once.
func On[T proto.Message](t Type, name string, fn func(ctx context.Context, m Meta, e T) error) Handler {
	return Handler{Type: t, Name: name, handle: func(ctx context.Context, m Meta, payload []byte) error {
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
}
