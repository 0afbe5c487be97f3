package traffic

import (
	"context"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"
)

// sizeEvery is the share of the calls whose messages are measured: measuring
// costs as much as a tenth of a call in process.
const sizeEvery = 32

// Edge counts the calls of one module to another. A nil one counts nothing.
type Edge struct {
	caller, callee string
	background     *Source
	methods        table[string, counted]
}

// counted is one method on an edge.
type counted struct {
	edge                  *Edge
	method                string
	calls, faults         atomic.Int64
	sized, request, reply atomic.Int64 // calls measured, and bytes in them
	took                  Histogram
}

// Edge returns the counters of the edge on which module caller calls callee.
func (r *Recorder) Edge(caller, callee string) *Edge {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.edges {
		if e.caller == caller && e.callee == callee {
			return e
		}
	}
	e := &Edge{caller: caller, callee: callee, background: r.source(Background, caller, "", "")}
	r.edges = append(r.edges, e)
	return e
}

// Called counts a call of method, in gRPC's notation, for the sake of the
// source that ctx belongs to. err is nil when it succeeded.
func (e *Edge) Called(ctx context.Context, method string, request, reply any, took time.Duration, err error) {
	if e == nil {
		return
	}
	m := e.methods.of(method, func() *counted { return &counted{edge: e, method: method} })
	n := m.calls.Add(1)
	m.took.Observe(took)
	if err != nil {
		m.faults.Add(1)
	} else if n%sizeEvery == 1 {
		m.measure(request, reply)
	}
	s := From(ctx)
	if s == nil {
		s = e.background
	}
	s.calls.of(m, newCount).Add(1)
}

func (m *counted) measure(request, reply any) {
	in, ok := request.(proto.Message)
	out, also := reply.(proto.Message)
	if !ok || !also {
		return
	}
	m.sized.Add(1)
	m.request.Add(int64(proto.Size(in)))
	m.reply.Add(int64(proto.Size(out)))
}
