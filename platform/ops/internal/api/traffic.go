package api

import (
	"context"

	"cleave/platform/rest"
	"cleave/platform/traffic"
)

// GetTraffic implements GET /api/v1/admin/process/traffic.
func (s server) GetTraffic(context.Context, GetTrafficRequestObject) (GetTrafficResponseObject, error) {
	seen := s.edges()
	out := GetTraffic200JSONResponse{
		Since: seen.Since, At: seen.At, CPUUs: seen.CPU, Pipe: seen.Pipe, Modules: seen.Modules,
		Calls: make([]EdgeCalls, len(seen.Calls)), Sources: make([]EdgeSource, len(seen.Sources)),
	}
	for i, c := range seen.Calls {
		out.Calls[i] = EdgeCalls{
			Caller: c.Caller, Callee: c.Callee, Method: c.Method, Calls: c.Calls, Faults: c.Faults, Sized: c.Sized,
			RequestBytes: c.RequestBytes, ReplyBytes: c.ReplyBytes, Took: wireDurations(c.Took),
		}
	}
	for i, a := range seen.Sources {
		w := EdgeSource{
			Kind: EdgeSourceKind(a.Kind), Module: a.Module, Name: a.Name, Event: rest.Optional(a.Event), Runs: a.Runs,
			InBytes: a.InBytes, OutBytes: a.OutBytes, Took: wireDurations(a.Took),
			Calls: wireCounts(a.Calls), Publishes: make([]EdgeEvents, len(a.Publishes)), Starts: wireCounts(a.Starts),
		}
		for j, e := range a.Publishes {
			w.Publishes[j] = EdgeEvents{Type: e.Type, Count: e.Count, Bytes: e.Bytes}
		}
		out.Sources[i] = w
	}
	return out, nil
}

func wireCounts(counts []traffic.Count) []EdgeCount {
	out := make([]EdgeCount, len(counts))
	for i, c := range counts {
		out[i] = EdgeCount{Module: c.Module, Name: c.Name, Count: c.Count}
	}
	return out
}

func wireDurations(d traffic.Distribution) EdgeDurations {
	out := EdgeDurations{SumUs: d.Micros, Buckets: make([]EdgeBucket, len(d.Buckets))}
	for i, b := range d.Buckets {
		out.Buckets[i] = EdgeBucket{FromUs: b.From, Count: b.Count}
	}
	return out
}
