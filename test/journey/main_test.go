// Package journey_test runs the program itself, as it is built and started by
// anyone, and drives it from outside: through the generated clients, raw HTTP,
// SMTP, its commands and its signals, on SQLite and on Postgres.
//
// Whatever happens, money and stock are conserved: every test ends by adding up
// every ledger and every product.
package journey_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"cleave/platform/event/eventtest"
	"cleave/test/harness"
)

const (
	// patience is how long anything that happens in the background may take on
	// a loaded machine.
	patience = 30 * time.Second
	tick     = 20 * time.Millisecond
)

// happens reports whether cond becomes true. Unlike require.Eventually it calls
// cond on the test's own goroutine, where it may require things too.
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

// binary is the program, built once as a release is.
var binary string

func TestMain(m *testing.M) {
	eventtest.Main()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "cleave-journey-*")
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
