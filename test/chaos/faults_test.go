package chaos_test

import (
	"bytes"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cleave/platform/db"
	"cleave/platform/db/dbtest"
)

// TestCrash runs the program that ends itself at the worst moments, which a
// signal from outside rarely meets: right before and after a commit, a call and
// a delivery, before anybody hears of it. Less bad things happen to it, too.
func TestCrash(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		t.Parallel()
		s := newShop(t, c, plan{program: faulty, single: true})
		defer s.report(t)
		s.during(t, func() {
			s.strike(0)
			reopen := s.shut()
			defer func() { reopen() }()
			for life := range strikes(5, 40) {
				// It may end before it serves, by a fault or by its own end.
				_, _ = s.serve(0, fmt.Sprintf("CLEAVE_FAULTS=seed=%d,rate=0.02,crash=0.003,after=400ms", options.seed+uint64(life)*1_000_003))
				reopen()
				s.dies(t)
				reopen = s.shut()
				if s.over() {
					return
				}
			}
			_, err := s.serve(0)
			require.NoError(t, err)
		})
		s.alive(t)
		s.recovery(t)
	})
}

// dies waits for the process to end itself, and ends it when it does not.
func (s *shop) dies(t *testing.T) {
	t.Helper()
	const longest = 10 * time.Second
	s.mu.Lock()
	p := s.running[0]
	s.mu.Unlock()
	require.NotNil(t, p)
	select {
	case <-p.Exited():
	case <-time.After(longest):
	}
	s.strike(0)
}

// TestReleased looks for traces of planned faults in the program.
func TestReleased(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]bool{binary: false, faulty: true} {
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, want, bytes.Contains(b, []byte("platform/faulttest")), path)
		require.Equal(t, want, bytes.Contains(b, []byte("CLEAVE_FAULTS")), path)
	}
}
