// Package paritytest plants defects of which each makes several processes behave in another way than one: in what a front door
// hands on, in calls over a network, in the pipe between processes. test/topology must find every one of them.
//
// It is for a build of the program with the tag parity; the program that is released does not contain it.
package paritytest

import (
	"maps"
	"slices"

	"google.golang.org/grpc"

	"cleave/platform/event"
	"cleave/platform/module"
)

// Names are the defects.
func Names() []string {
	return slices.Sorted(func(yield func(string) bool) {
		for _, names := range [][]string{slices.Collect(maps.Keys(fronts)), slices.Collect(maps.Keys(calls)), slices.Collect(maps.Keys(pipes))} {
			for _, name := range names {
				if !yield(name) {
					return
				}
			}
		}
	})
}

// Faults plants the defect named; one of no name changes nothing. Those of calls are in every edge of the process: run each module
// in a process of its own.
func Faults(name string) (f module.Faults) {
	if d, ok := fronts[name]; ok {
		f.Front = func(_ string, c grpc.ClientConnInterface) grpc.ClientConnInterface { return &front{c, d} }
	}
	if d, ok := calls[name]; ok {
		f.Conn = func(_, _ string, c grpc.ClientConnInterface) grpc.ClientConnInterface { return &call{c, d} }
	}
	if d, ok := pipes[name]; ok {
		f.Pipe = func(p event.Pipe) event.Pipe { return &pipe{p, d} }
	}
	return f
}
