// Package chaos_test starts the real program, lets customers and staff use it
// all at once, and takes away what it stands on: the process itself, its
// database, its network, its broker. During the run and after it, it checks
// that what was acknowledged is kept, that everything comes to an end, that
// each event had its effect once for each subscriber and in order, and that
// money and stock are conserved at every read.
//
// What happens, when and to whom comes from one seed, which is printed. Only
// how fast the machine is does not, so a seed replays the schedule, not each
// interleaving.
package chaos_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"cleave/platform/event/eventtest"
	"cleave/test/harness"
)

// patience is how long anything may take on a loaded machine before it counts
// as never.
const patience = 90 * time.Second

// options are the flags of a run:
//
//	go test ./test/chaos -run TestKill/sqlite -seed 7 -kills 200
var options struct {
	seed  uint64
	full  bool
	kills int
	keep  string
}

// binary is the program, built once, and faulty the one that makes its own
// faults.
var binary, faulty string

func TestMain(m *testing.M) {
	eventtest.Main()
	flag.Uint64Var(&options.seed, "seed", 0, "of everything that happens; 0 takes a new one")
	flag.BoolVar(&options.full, "full", false, "run for minutes rather than seconds")
	flag.IntVar(&options.kills, "kills", 0, "how often each scenario strikes; 0 is its own number, which -full raises")
	flag.StringVar(&options.keep, "keep", "", "a folder for the data, tables and logs of scenarios that fail")
	flag.Parse()
	if options.seed == 0 {
		options.seed = rand.Uint64N(1_000_000)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "cleave-chaos-*")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if binary, err = harness.Build(dir); err == nil {
		faulty, err = harness.Build(dir, "faults")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Printf("chaos: seed %d\n", options.seed)
	return m.Run()
}

// strikes is how often a scenario strikes: few times beside all other tests,
// many when the run is for this alone.
func strikes(short, full int) int {
	switch {
	case options.kills > 0:
		return options.kills
	case options.full:
		return full
	default:
		return short
	}
}
