// Package topology_test asks whether it matters how the modules are parted into
// processes. One script uses the whole public API of the real program; what it
// is answered, which events are published and received, what the tables and
// the mails then hold, is compared with the program in one process, text by
// text.
//
// Only what cannot be the same is replaced: ids, times and secrets, each by a
// number in the order in which they appear, so that one which turns up in
// another place is a difference.
package topology_test

import (
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"cleave/platform/event/eventtest"
	"cleave/test/harness"
)

const (
	// patience is how long anything may take on a loaded machine before it
	// counts as never.
	patience = 60 * time.Second
	tick     = 20 * time.Millisecond
)

// options are the flags of a run:
//
//	go test ./test/topology -run 'TestTopology/sqlite' -full
var options struct {
	full bool
	keep string
}

// binary is the program, built once as a release is.
var binary string

func TestMain(m *testing.M) {
	eventtest.Main()
	flag.BoolVar(&options.full, "full", false, "every front door of every partition on every database, and the planted faults")
	flag.StringVar(&options.keep, "keep", "", "a folder for the records that differ")
	flag.Parse()
	code := run(m)
	os.Exit(code)
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "cleave-topology-*")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if binary, err = harness.Build(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// happens reports whether cond becomes true.
func happens(cond func() bool) bool {
	for end := time.Now().Add(patience); ; time.Sleep(tick) {
		if cond() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}
