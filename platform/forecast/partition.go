// Package forecast says what it would cost to run modules in several processes,
// from what one process has counted (package traffic) and from what a hop to
// another process costs on the machine at hand (Calibrate).
//
// Make is a pure function of the two. docs/forecast.md has the formula and its
// limits.
package forecast

import (
	"slices"
	"strings"

	"cleave/platform/fault"
)

// Partition are the modules by process.
type Partition [][]string

// Parse reads a partition: processes are separated by |, the modules in one by
// commas. Modules that it does not name stay together in one more process, so
// that "user" splits user from all others. It is an Invalid fault to name an
// unknown module, one module twice, or a single process.
func Parse(text string, modules []string) (Partition, error) {
	var p Partition
	rest := slices.Clone(modules)
	for group := range strings.SplitSeq(text, "|") {
		var names []string
		for name := range strings.SplitSeq(group, ",") {
			name = strings.TrimSpace(name)
			i := slices.Index(rest, name)
			switch {
			case i >= 0:
				rest = slices.Delete(rest, i, i+1)
			case slices.Contains(modules, name):
				return nil, fault.New(fault.Invalid, "split_invalid", "the split %q names %s twice", text, name)
			default:
				return nil, fault.New(fault.Invalid, "split_invalid", "the split %q names %q, allowed: %s", text, name, strings.Join(modules, ", "))
			}
			names = append(names, name)
		}
		p = append(p, names)
	}
	if len(rest) > 0 {
		p = append(p, rest)
	}
	if len(p) < 2 {
		return nil, fault.New(fault.Invalid, "split_invalid", "the split %q leaves all modules in one process", text)
	}
	return p, nil
}

// String is the partition as Parse reads it.
func (p Partition) String() string {
	groups := make([]string, len(p))
	for i, g := range p {
		groups[i] = strings.Join(g, ",")
	}
	return strings.Join(groups, "|")
}

// home is the index of the process that runs the module; -1 when none does.
func (p Partition) home(module string) int {
	return slices.IndexFunc(p, func(g []string) bool { return slices.Contains(g, module) })
}

func (p Partition) crosses(from, to string) bool {
	f, t := p.home(from), p.home(to)
	return f >= 0 && t >= 0 && f != t
}

// Where requests of clients arrive, beside the name of a module, which means its process.
const (
	Busiest = ""        // at the process that answers most of them
	Direct  = "direct"  // at the process that answers: the load balancer knows the paths
	Gateway = "gateway" // at a process without modules
)

const (
	atGateway = -1
	atTheirs  = -2
)
