package chaos_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cleave/platform/db"
	"cleave/platform/db/dbtest"
)

// TestKill ends the process by SIGKILL again and again, also while it starts,
// and starts the next one at the same address.
func TestKill(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		t.Parallel()
		s := newShop(t, c, plan{})
		defer s.report(t)
		s.during(t, func() { s.killAgainAndAgain(t, moments(stream(options.seed, s.name), strikes(6, 60))) })
		s.recovery(t)
	})
}

func (s *shop) killAgainAndAgain(t *testing.T, when []moment) {
	t.Helper()
	for _, m := range when {
		if !m.starting {
			s.await(m)
		}
		if s.over() {
			return
		}
		s.strike(0)
		s.gate.Lock()
		if m.starting {
			_, err := s.launch(0)
			require.NoError(t, err)
			time.Sleep(m.pause)
			s.strike(0)
		}
		_, err := s.serve(0)
		s.gate.Unlock()
		if err != nil {
			s.findings.add("it does not start again after a kill %v: %v", m, err)
			return
		}
	}
}

// await returns at the moment m of a process that is ready.
func (s *shop) await(m moment) {
	const longest = 5 * time.Second // however little gets answered
	goal := s.answers.Load() + m.answers
	for began := time.Now(); s.answers.Load() < goal && time.Since(began) < longest && !s.over(); {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(m.pause)
}

// strike kills process i and takes down when.
func (s *shop) strike(i int) {
	s.kill(i)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.struck.Add(1)
	s.kills = append(s.kills, time.Now())
}
