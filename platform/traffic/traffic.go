// Package traffic counts what the modules of a process ask of each other, and
// for whose sake: the calls on every edge, and of every REST operation, saga,
// event handler and method how many calls, events and sagas follow from it. It
// is what the forecast of a split is made from.
//
// What is counted is named by the program alone, never by a client, so that
// the counters are bounded. They cost a call some 0.1 µs and no lock.
package traffic

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Kind is what a Source is.
type Kind string

// The kinds of sources. Background is the work of a module that belongs to no
// other source; it has no runs.
const (
	Operation  Kind = "operation"
	Method     Kind = "method"
	Saga       Kind = "saga"
	Handler    Kind = "handler"
	Background Kind = "background"
)

// Recorder holds the counters of a process. It is safe for concurrent use, and
// a nil one counts nothing.
type Recorder struct {
	began   time.Time
	now     func() time.Time
	mu      sync.Mutex
	edges   []*Edge
	sources table[sourceKey, Source]
}

type sourceKey struct {
	kind         Kind
	module, name string
}

// New returns a recorder that begins now.
func New(now func() time.Time) *Recorder { return &Recorder{began: now(), now: now} }

// Operation is the source of what a REST operation of module does.
func (r *Recorder) Operation(module, id string) *Source { return r.source(Operation, module, id, "") }

// Method is the source of what a method of module, in gRPC's notation, does.
func (r *Recorder) Method(module, name string) *Source { return r.source(Method, module, name, "") }

// Saga is the source of what the sagas of one definition do.
func (r *Recorder) Saga(module, name string) *Source { return r.source(Saga, module, name, "") }

// Handler is the source of what the subscriber, module.handler, of an event type does.
func (r *Recorder) Handler(module, subscriber, event string) *Source {
	return r.source(Handler, module, subscriber, event)
}

func (r *Recorder) source(kind Kind, module, name, event string) *Source {
	if r == nil {
		return nil
	}
	return r.sources.of(sourceKey{kind, module, name}, func() *Source {
		return &Source{kind: kind, module: module, name: name, event: event}
	})
}

// Source is something that modules do, again and again. A nil one counts nothing.
type Source struct {
	kind         Kind
	module, name string
	event        string // type that a handler handles
	runs         atomic.Int64
	in, out      atomic.Int64 // bytes
	took         Histogram
	calls        table[*counted, atomic.Int64]
	publishes    table[string, published]
	starts       table[*Source, atomic.Int64]
}

type published struct{ events, bytes atomic.Int64 }

// Ran counts a run, with the bytes that it received and answered.
func (s *Source) Ran(took time.Duration, in, out int) {
	if s == nil {
		return
	}
	s.runs.Add(1)
	s.in.Add(int64(max(in, 0)))
	s.out.Add(int64(max(out, 0)))
	s.took.Observe(took)
}

// Began counts a run that ends elsewhere, or is timed there.
func (s *Source) Began() {
	if s != nil {
		s.runs.Add(1)
	}
}

// Published counts an event that the source published.
func (s *Source) Published(event string, bytes int) {
	if s == nil {
		return
	}
	p := s.publishes.of(event, func() *published { return &published{} })
	p.events.Add(1)
	p.bytes.Add(int64(bytes))
}

// Started counts a saga that the source started.
func (s *Source) Started(saga *Source) {
	if saga == nil {
		return
	}
	saga.Began()
	if s != nil {
		s.starts.of(saga, newCount).Add(1)
	}
}

func newCount() *atomic.Int64 { return &atomic.Int64{} }

type key struct{}

// With is ctx for what s does.
func With(ctx context.Context, s *Source) context.Context {
	if s == nil {
		return ctx
	}
	return context.WithValue(ctx, key{}, s)
}

// From is the source that ctx belongs to; nil without one.
func From(ctx context.Context) *Source {
	s, _ := ctx.Value(key{}).(*Source)
	return s
}
