// Package moving_test moves a module of the running program to another process
// and back while clients go on, and checks that none of them noticed: no
// request fails, nothing is lost, and nothing happens twice.
package moving_test

import (
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"cleave/platform/event/eventtest"
	"cleave/test/harness"
)

// patience is how long anything may take on a loaded machine before it counts
// as never.
const patience = 90 * time.Second

var options struct {
	times int
	rate  int
}

// binary is the program, built once.
var binary string

func TestMain(m *testing.M) {
	eventtest.Main()
	flag.IntVar(&options.times, "times", 1, "how often the module goes there and back")
	flag.IntVar(&options.rate, "rate", 40, "requests a second, however fast they are answered")
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "cleave-moving-*")
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
