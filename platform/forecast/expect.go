package forecast

import (
	"maps"

	"cleave/platform/traffic"
)

// edgeMethod is a method on an edge.
type edgeMethod struct{ caller, callee, method string }

// delivery is an event type on its way to a subscriber.
type delivery struct{ event, from, subscriber, to string }

// effects are how much of each follows, on average, from one run of a source.
type effects struct {
	calls  map[edgeMethod]float64 // while it runs
	later  map[edgeMethod]float64 // afterwards, by sagas and handlers
	events map[delivery]float64
}

func newEffects() effects {
	return effects{map[edgeMethod]float64{}, map[edgeMethod]float64{}, map[delivery]float64{}}
}

// depth bounds how far what follows from what follows is traced: events can go
// round in a circle.
const depth = 12

// graph is the snapshot, made ready for tracing.
type graph struct {
	methods  map[string]traffic.Activity              // by callee and method
	sagas    map[string]traffic.Activity              // by module and name
	handlers map[string][]traffic.Activity            // by event type
	total    map[string]float64                       // events published, by type
	sizes    map[edgeMethod]struct{ in, out float64 } // mean bytes
}

func newGraph(s traffic.Snapshot) graph {
	g := graph{
		methods: map[string]traffic.Activity{}, sagas: map[string]traffic.Activity{}, handlers: map[string][]traffic.Activity{},
		total: map[string]float64{}, sizes: map[edgeMethod]struct{ in, out float64 }{},
	}
	for _, a := range s.Sources {
		switch a.Kind {
		case traffic.Method:
			g.methods[a.Module+" "+a.Name] = a
		case traffic.Saga:
			g.sagas[a.Module+" "+a.Name] = a
		case traffic.Handler:
			g.handlers[a.Event] = append(g.handlers[a.Event], a)
		}
		for _, e := range a.Publishes {
			g.total[e.Type] += float64(e.Count)
		}
	}
	for _, c := range s.Calls {
		if c.Sized > 0 {
			n := float64(c.Sized)
			g.sizes[edgeMethod{c.Caller, c.Callee, c.Method}] = struct{ in, out float64 }{float64(c.RequestBytes) / n, float64(c.ReplyBytes) / n}
		}
	}
	return g
}

// trace returns what follows from one run of a. Each saga, handler and method
// is taken for the average of its runs, whoever caused them: neither the
// outbox nor the inboxes have to carry who that was.
func (g graph) trace(a traffic.Activity, level int) effects {
	out := newEffects()
	if a.Runs == 0 || level > depth {
		return out
	}
	runs := float64(a.Runs)
	for _, c := range a.Calls {
		n := float64(c.Count) / runs
		out.calls[edgeMethod{a.Module, c.Module, c.Name}] += n
		if m, ok := g.methods[c.Module+" "+c.Name]; ok {
			inner := g.trace(m, level+1)
			merge(out.calls, inner.calls, n)
			merge(out.later, inner.later, n)
			merge(out.events, inner.events, n)
		}
	}
	for _, c := range a.Starts {
		if s, ok := g.sagas[c.Module+" "+c.Name]; ok {
			out.follows(g.trace(s, level+1), float64(c.Count)/runs)
		}
	}
	for _, e := range a.Publishes {
		for _, h := range g.handlers[e.Type] {
			// A handler that joined late, or in another process, did not see all of them.
			n := float64(e.Count) / runs * min(1, float64(h.Runs)/g.total[e.Type])
			out.events[delivery{e.Type, a.Module, h.Name, h.Module}] += n
			out.follows(g.trace(h, level+1), n)
		}
	}
	return out
}

// follows adds n times what happens afterwards.
func (e effects) follows(inner effects, n float64) {
	merge(e.later, inner.calls, n)
	merge(e.later, inner.later, n)
	merge(e.events, inner.events, n)
}

func merge[K comparable](into, from map[K]float64, n float64) {
	for k, v := range maps.All(from) {
		into[k] += v * n
	}
}
