package forecast

import (
	"cmp"
	"math"
	"slices"
	"time"

	"cleave/platform/fault"
	"cleave/platform/traffic"
)

// Cost is what one hop to another process adds to the same thing within one.
type Cost struct {
	P50 time.Duration `json:"p50_ns"`
	P99 time.Duration `json:"p99_ns"`
	CPU time.Duration `json:"cpu_ns"` // of both processes
}

// Hops are the costs of hops, as Calibrate measures them.
type Hops struct {
	Call  Cost `json:"call"`  // a call between modules
	Front Cost `json:"front"` // a request that is handed to the process that has the module
}

// Forecast is what a split would cost.
type Forecast struct {
	Split      string        `json:"split"`
	Front      string        `json:"front"`    // where requests arrive
	Requests   int64         `json:"requests"` // that the forecast is made from
	Window     time.Duration `json:"window_ns"`
	Hops       Hops          `json:"hops"`
	Operations []Operation   `json:"operations"` // that the split touches or not, the chattiest first
	Edges      []Edge        `json:"edges"`      // that cross processes
	Events     []Event       `json:"events"`     // likewise
	Sagas      []Saga        `json:"sagas"`      // whose steps would call another process
	CPU        CPU           `json:"cpu"`
	Verdict    Verdict       `json:"verdict"`
}

// Operation is a REST operation under the split. Figures are per request.
type Operation struct {
	Module     string        `json:"module"`
	Name       string        `json:"operation"`
	Requests   int64         `json:"requests"`
	Calls      float64       `json:"calls"`       // to other processes, while it is answered
	LaterCalls float64       `json:"later_calls"` // by the sagas and handlers that follow
	Events     float64       `json:"events"`      // that go to other processes, all that follow
	Handed     bool          `json:"handed_on"`   // the request itself goes to another process
	Bytes      float64       `json:"bytes"`       // between processes, without protocol overhead
	P50        time.Duration `json:"p50_ns"`      // today
	P99        time.Duration `json:"p99_ns"`
	AddedP50   time.Duration `json:"added_p50_ns"`
	AddedP99   time.Duration `json:"added_p99_ns"`
	AddedLater time.Duration `json:"added_later_p50_ns"` // until all that follows is done
	AddedCPU   time.Duration `json:"added_cpu_ns"`
}

// all is how many calls to other processes a request causes.
func (o Operation) all() float64 { return o.Calls + o.LaterCalls }

// Edge is a method whose calls would cross processes.
type Edge struct {
	Caller     string  `json:"caller"`
	Callee     string  `json:"callee"`
	Method     string  `json:"method"`
	Calls      int64   `json:"calls"`
	PerRequest float64 `json:"per_request"` // of any operation
	Bytes      float64 `json:"bytes"`       // of one call and its reply
}

// Event is an event type whose subscriber would be in another process.
type Event struct {
	Type       string  `json:"type"`
	From       string  `json:"from"`
	Subscriber string  `json:"subscriber"`
	PerRequest float64 `json:"per_request"` // of any operation
}

// Saga is a transaction that would span processes.
type Saga struct {
	Module string   `json:"module"`
	Name   string   `json:"saga"`
	Runs   int64    `json:"runs"`
	Calls  float64  `json:"calls"` // to other processes, per run
	To     []string `json:"to"`
}

// CPU is the processor time per 1,000 requests, in seconds.
type CPU struct {
	Now   float64 `json:"now"`
	Added float64 `json:"added"`
}

// Options say how the processes would be used.
type Options struct {
	Front  string  // Busiest, Direct, Gateway, or a module whose process takes the requests
	Budget float64 // most calls to other processes that a request may cause, at once and later; 0: no limit
}

// Make forecasts what the split p costs. It is an Invalid fault when s counts no
// request of a module in p, since a forecast is an average of requests, and
// when o.Front names no process.
func Make(s traffic.Snapshot, p Partition, hops Hops, o Options) (Forecast, error) {
	f := Forecast{
		Split: p.String(), Window: s.At.Sub(s.Since), Hops: hops,
		Operations: []Operation{}, Edges: []Edge{}, Events: []Event{}, Sagas: []Saga{},
	}
	var operations []traffic.Activity
	for _, a := range s.Sources {
		if a.Kind == traffic.Operation && p.home(a.Module) >= 0 && a.Runs > 0 {
			operations = append(operations, a)
			f.Requests += a.Runs
		}
	}
	if f.Requests == 0 {
		return f, fault.New(fault.Invalid, "nothing_counted", "no request has been counted yet: send the requests that the forecast is to be about, and ask again")
	}
	front, err := p.front(o.Front, operations)
	if err != nil {
		return f, err
	}
	f.Front = p.frontName(front)
	g := newGraph(s)
	var handed int64
	events := map[delivery]float64{}
	for _, a := range operations {
		e := g.trace(a, 0)
		op := g.operation(a, e, p, hops)
		if op.Handed = front != atTheirs && p.home(a.Module) != front; op.Handed {
			handed += a.Runs
			op.Bytes += float64(a.InBytes+a.OutBytes) / float64(a.Runs)
			op.AddedCPU += hops.Front.CPU
		}
		op.AddedP50, op.AddedP99 = hops.latency(op.Calls, op.Handed)
		merge(events, e.events, float64(a.Runs))
		f.Operations = append(f.Operations, op)
	}
	calls := f.edges(s, g, p)
	f.events(events, p)
	f.sagas(s, p)
	added := time.Duration(calls)*hops.Call.CPU + time.Duration(handed)*hops.Front.CPU
	f.CPU = CPU{Now: float64(s.CPU) / 1e6 / float64(f.Requests) * 1000, Added: added.Seconds() / float64(f.Requests) * 1000}
	slices.SortFunc(f.Operations, func(a, b Operation) int {
		return cmp.Or(cmp.Compare(b.all(), a.all()), cmp.Compare(b.Calls, a.Calls), cmp.Compare(a.Module, b.Module), cmp.Compare(a.Name, b.Name))
	})
	f.Verdict = f.judge(o.Budget, s.Pipe)
	return f, nil
}

// operation is a under the split, as if its request arrived where it is answered.
func (g graph) operation(a traffic.Activity, e effects, p Partition, hops Hops) Operation {
	op := Operation{Module: a.Module, Name: a.Name, Requests: a.Runs, P50: a.Took.Quantile(0.5), P99: a.Took.Quantile(0.99)}
	for k, n := range e.calls {
		if p.crosses(k.caller, k.callee) {
			op.Calls += n
			op.Bytes += n * (g.sizes[k].in + g.sizes[k].out)
		}
	}
	for k, n := range e.later {
		if p.crosses(k.caller, k.callee) {
			op.LaterCalls += n
			op.Bytes += n * (g.sizes[k].in + g.sizes[k].out)
		}
	}
	for k, n := range e.events {
		if p.crosses(k.from, k.to) {
			op.Events += n
		}
	}
	op.AddedLater = times(hops.Call.P50, op.LaterCalls)
	op.AddedCPU = times(hops.Call.CPU, op.Calls+op.LaterCalls)
	return op
}

// latency is what calls one after the other, and handing on, add to a request:
// medians add up, and of what lies above them the squares do.
func (h Hops) latency(calls float64, handed bool) (p50, p99 time.Duration) {
	tail := float64(h.Call.P99-h.Call.P50) * math.Sqrt(calls)
	p50 = times(h.Call.P50, calls)
	if handed {
		p50 += h.Front.P50
		tail = math.Hypot(tail, float64(h.Front.P99-h.Front.P50))
	}
	return p50, p50 + time.Duration(tail)
}

func times(d time.Duration, n float64) time.Duration { return time.Duration(float64(d) * n) }

// edges adds the methods that would be called over the network, and returns how many calls that were.
func (f *Forecast) edges(s traffic.Snapshot, g graph, p Partition) (calls int64) {
	for _, c := range s.Calls {
		if !p.crosses(c.Caller, c.Callee) {
			continue
		}
		size := g.sizes[edgeMethod{c.Caller, c.Callee, c.Method}]
		calls += c.Calls
		f.Edges = append(f.Edges, Edge{
			Caller: c.Caller, Callee: c.Callee, Method: c.Method, Calls: c.Calls,
			PerRequest: float64(c.Calls) / float64(f.Requests), Bytes: size.in + size.out,
		})
	}
	return calls
}

func (f *Forecast) events(events map[delivery]float64, p Partition) {
	for k, n := range events {
		if p.crosses(k.from, k.to) {
			f.Events = append(f.Events, Event{Type: k.event, From: k.from, Subscriber: k.subscriber, PerRequest: n / float64(f.Requests)})
		}
	}
	slices.SortFunc(f.Events, func(a, b Event) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Subscriber, b.Subscriber))
	})
}

func (f *Forecast) sagas(s traffic.Snapshot, p Partition) {
	for _, a := range s.Sources {
		if a.Kind != traffic.Saga || a.Runs == 0 {
			continue
		}
		saga := Saga{Module: a.Module, Name: a.Name, Runs: a.Runs}
		for _, c := range a.Calls {
			if p.crosses(a.Module, c.Module) {
				saga.Calls += float64(c.Count) / float64(a.Runs)
				if !slices.Contains(saga.To, c.Module) {
					saga.To = append(saga.To, c.Module)
				}
			}
		}
		if saga.Calls > 0 {
			f.Sagas = append(f.Sagas, saga)
		}
	}
}
