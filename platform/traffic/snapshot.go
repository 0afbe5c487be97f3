package traffic

import (
	"cmp"
	"slices"
	"time"
)

// Snapshot is what a process has counted between two moments.
type Snapshot struct {
	Since   time.Time  `json:"since"`
	At      time.Time  `json:"at"`
	CPU     int64      `json:"cpu_us"` // microseconds of processor time of the process, user and system
	Pipe    string     `json:"pipe"`   // that carries events: inproc, or the scheme of a broker
	Modules []string   `json:"modules"`
	Calls   []Calls    `json:"calls"`
	Sources []Activity `json:"sources"`
}

// Calls are those of one method on one edge.
type Calls struct {
	Caller       string       `json:"caller"`
	Callee       string       `json:"callee"`
	Method       string       `json:"method"`
	Calls        int64        `json:"calls"`
	Faults       int64        `json:"faults"`
	Sized        int64        `json:"sized"`         // calls whose messages were measured
	RequestBytes int64        `json:"request_bytes"` // in those
	ReplyBytes   int64        `json:"reply_bytes"`
	Took         Distribution `json:"took"`
}

// Activity is what one source did.
type Activity struct {
	Kind      Kind         `json:"kind"`
	Module    string       `json:"module"`
	Name      string       `json:"name"`
	Event     string       `json:"event,omitempty"` // type that a handler handles
	Runs      int64        `json:"runs"`
	InBytes   int64        `json:"in_bytes"`
	OutBytes  int64        `json:"out_bytes"`
	Took      Distribution `json:"took"`
	Calls     []Count      `json:"calls"`
	Publishes []Events     `json:"publishes"`
	Starts    []Count      `json:"starts"`
}

// Count is how often something was done: the method of a callee, or the saga of a module.
type Count struct {
	Module string `json:"module"`
	Name   string `json:"name"`
	Count  int64  `json:"count"`
}

// Events are those of one type that were published.
type Events struct {
	Type  string `json:"type"`
	Count int64  `json:"count"`
	Bytes int64  `json:"bytes"`
}

// Snapshot returns the counts so far. What happens meanwhile may be in some of
// them and not in others.
func (r *Recorder) Snapshot() Snapshot {
	s := Snapshot{Since: r.began, At: r.now(), CPU: CPU().Microseconds(), Modules: []string{}, Calls: []Calls{}, Sources: []Activity{}}
	r.mu.Lock()
	edges := slices.Clone(r.edges)
	r.mu.Unlock()
	for _, e := range edges {
		for _, m := range e.methods.read() {
			s.Calls = append(s.Calls, Calls{
				Caller: e.caller, Callee: e.callee, Method: m.method, Calls: m.calls.Load(), Faults: m.faults.Load(),
				Sized: m.sized.Load(), RequestBytes: m.request.Load(), ReplyBytes: m.reply.Load(), Took: m.took.Distribution(),
			})
		}
	}
	for _, source := range r.sources.read() {
		if a := source.activity(); a.Runs > 0 || len(a.Calls) > 0 {
			s.Sources = append(s.Sources, a)
		}
	}
	slices.SortFunc(s.Calls, func(a, b Calls) int {
		return cmp.Or(cmp.Compare(a.Caller, b.Caller), cmp.Compare(a.Callee, b.Callee), cmp.Compare(a.Method, b.Method))
	})
	slices.SortFunc(s.Sources, func(a, b Activity) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Module, b.Module), cmp.Compare(a.Name, b.Name))
	})
	return s
}

func (s *Source) activity() Activity {
	a := Activity{
		Kind: s.kind, Module: s.module, Name: s.name, Event: s.event, Runs: s.runs.Load(), InBytes: s.in.Load(), OutBytes: s.out.Load(),
		Took: s.took.Distribution(), Calls: []Count{}, Publishes: []Events{}, Starts: []Count{},
	}
	for m, n := range s.calls.read() {
		a.Calls = append(a.Calls, Count{m.edge.callee, m.method, n.Load()})
	}
	for event, p := range s.publishes.read() {
		a.Publishes = append(a.Publishes, Events{event, p.events.Load(), p.bytes.Load()})
	}
	for saga, n := range s.starts.read() {
		a.Starts = append(a.Starts, Count{saga.module, saga.name, n.Load()})
	}
	slices.SortFunc(a.Calls, byName)
	slices.SortFunc(a.Starts, byName)
	slices.SortFunc(a.Publishes, func(x, y Events) int { return cmp.Compare(x.Type, y.Type) })
	return a
}

func byName(a, b Count) int {
	return cmp.Or(cmp.Compare(a.Module, b.Module), cmp.Compare(a.Name, b.Name))
}

// Minus returns what was counted after earlier, a snapshot of the same process.
func (s Snapshot) Minus(earlier Snapshot) Snapshot {
	out := s
	out.Since, out.CPU = earlier.At, s.CPU-earlier.CPU
	out.Calls, out.Sources = []Calls{}, []Activity{}
	calls := map[[3]string]Calls{}
	for _, c := range earlier.Calls {
		calls[[3]string{c.Caller, c.Callee, c.Method}] = c
	}
	for _, c := range s.Calls {
		b := calls[[3]string{c.Caller, c.Callee, c.Method}]
		c.Calls, c.Faults, c.Sized = c.Calls-b.Calls, c.Faults-b.Faults, c.Sized-b.Sized
		c.RequestBytes, c.ReplyBytes = c.RequestBytes-b.RequestBytes, c.ReplyBytes-b.ReplyBytes
		if c.Took = c.Took.minus(b.Took); c.Calls > 0 {
			out.Calls = append(out.Calls, c)
		}
	}
	sources := map[sourceKey]Activity{}
	for _, a := range earlier.Sources {
		sources[sourceKey{a.Kind, a.Module, a.Name}] = a
	}
	for _, a := range s.Sources {
		if a = a.minus(sources[sourceKey{a.Kind, a.Module, a.Name}]); a.Runs > 0 || len(a.Calls) > 0 {
			out.Sources = append(out.Sources, a)
		}
	}
	return out
}

func (a Activity) minus(b Activity) Activity {
	a.Runs, a.InBytes, a.OutBytes, a.Took = a.Runs-b.Runs, a.InBytes-b.InBytes, a.OutBytes-b.OutBytes, a.Took.minus(b.Took)
	a.Calls, a.Starts = subtract(a.Calls, b.Calls), subtract(a.Starts, b.Starts)
	before := map[string]Events{}
	for _, e := range b.Publishes {
		before[e.Type] = e
	}
	publishes := []Events{}
	for _, e := range a.Publishes {
		e.Count, e.Bytes = e.Count-before[e.Type].Count, e.Bytes-before[e.Type].Bytes
		if e.Count > 0 {
			publishes = append(publishes, e)
		}
	}
	a.Publishes = publishes
	return a
}

func subtract(counts, earlier []Count) []Count {
	before := map[[2]string]int64{}
	for _, c := range earlier {
		before[[2]string{c.Module, c.Name}] = c.Count
	}
	out := []Count{}
	for _, c := range counts {
		if c.Count -= before[[2]string{c.Module, c.Name}]; c.Count > 0 {
			out = append(out, c)
		}
	}
	return out
}
