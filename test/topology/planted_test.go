package topology_test

import (
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"cleave/platform/event/broker"
	"cleave/platform/event/eventtest"
	"cleave/platform/paritytest"
	"cleave/test/harness"
)

// TestPlanted builds the program with defects of which each makes several
// processes differ from one, and requires that the script finds every one.
func TestPlanted(t *testing.T) {
	if !options.full {
		t.Log("NOT TESTED: the planted defects need -full")
		return
	}
	t.Parallel()
	program, err := harness.Build(t.TempDir(), "parity")
	require.NoError(t, err)
	fresh := databases["sqlite"]
	want := perform(t, program, partitions[0], fresh(t), broker.InProcess, 0)
	last := partitions[len(partitions)-1]
	for _, defect := range append(paritytest.Names(), "none") {
		t.Run(defect, func(t *testing.T) {
			t.Parallel()
			found := attempt(t, func(t testing.TB) {
				got := perform(t, program, last, fresh(t), eventtest.NATS(t).URL, len(last), "CLEAVE_PARITY="+defect)
				if all := got.differences(want); len(all) > 0 {
					t.Errorf("%d parts differ, the first: %s", len(all), all[0])
				}
			})
			if defect == "none" {
				require.Empty(t, found)
				return
			}
			require.NotEmpty(t, found, "nobody noticed")
			t.Logf("found: %.300s", found[0])
		})
	}
}

// try is a test that may fail.
type try struct {
	testing.TB
	mu    sync.Mutex
	found []string
}

// attempt runs fn to its end and returns how it failed. What it cleans up is
// cleaned up with t, and may fail as it likes.
func attempt(t *testing.T, fn func(testing.TB)) []string {
	t.Helper()
	a := &try{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		fn(a)
	}()
	<-done
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.found
}

func (a *try) Errorf(format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.found = append(a.found, fmt.Sprintf(format, args...))
}

func (a *try) FailNow() { runtime.Goexit() }

func (a *try) Failed() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.found) > 0
}
