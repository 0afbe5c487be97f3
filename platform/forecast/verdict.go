package forecast

import (
	"fmt"
	"slices"
	"strings"

	"cleave/platform/event/broker"
	"cleave/platform/fault"
	"cleave/platform/traffic"
)

// Verdict is the forecast in words.
type Verdict struct {
	Words string   `json:"words"`
	Over  []string `json:"over_budget"` // operations that make more calls than the budget allows
}

// front is the index of the process that takes the requests.
func (p Partition) front(name string, operations []traffic.Activity) (int, error) {
	switch name {
	case Direct:
		return atTheirs, nil
	case Gateway:
		return atGateway, nil
	case Busiest:
		answered := make([]int64, len(p))
		for _, a := range operations {
			answered[p.home(a.Module)] += a.Runs
		}
		return slices.Index(answered, slices.Max(answered)), nil
	}
	if i := p.home(name); i >= 0 {
		return i, nil
	}
	return 0, fault.New(fault.Invalid, "front_invalid", "requests cannot arrive at %q, allowed: a module, %s or %s", name, Direct, Gateway)
}

func (p Partition) frontName(front int) string {
	switch front {
	case atTheirs:
		return Direct
	case atGateway:
		return Gateway
	}
	return strings.Join(p[front], ",")
}

// A split is called costly above a quarter more processor time, and an
// operation chatty above so many calls to other processes per request, those
// that follow from it included.
const (
	costly = 0.25
	chatty = 3
)

func (f *Forecast) judge(budget float64, pipe string) Verdict {
	v := Verdict{Over: []string{}}
	limit := budget
	if limit == 0 {
		limit = chatty
	}
	var talkers []string
	for _, o := range f.Operations {
		if o.all() <= limit {
			continue
		}
		talkers = append(talkers, fmt.Sprintf("%s.%s with %.3g", o.Module, o.Name, o.all()))
		if budget > 0 {
			v.Over = append(v.Over, o.Module+"."+o.Name)
		}
	}
	share := 0.0
	if f.CPU.Now > 0 {
		share = f.CPU.Added / f.CPU.Now
	}
	var words []string
	switch {
	case len(talkers) > 0:
		words = append(words, fmt.Sprintf("Do not split like this: it makes operations too chatty, %s calls to other processes per request where %.3g are allowed.", strings.Join(talkers, ", "), limit))
	case share > costly:
		words = append(words, fmt.Sprintf("Costly: it takes %.0f %% more processor time.", share*100))
	case len(f.Edges) == 0:
		words = append(words, fmt.Sprintf("Easy: no call crosses a process; %.0f %% more processor time.", share*100))
	default:
		words = append(words, fmt.Sprintf("Feasible: no operation makes more than %.3g calls to other processes; %.0f %% more processor time.", f.Operations[0].all(), share*100))
	}
	for _, s := range f.Sagas {
		words = append(words, fmt.Sprintf("The saga %s of %s spans processes: it calls %s.", s.Name, s.Module, strings.Join(s.To, ", ")))
	}
	if len(f.Events) > 0 && pipe == broker.InProcess {
		words = append(words, fmt.Sprintf("%d subscriptions cross processes and need a broker (events.pipe), whose cost is not in the forecast.", len(f.Events)))
	}
	v.Words = strings.Join(words, " ")
	return v
}
