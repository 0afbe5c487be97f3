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
		s.during(t, func() { s.killAgainAndAgain(t, strikes(6, 60)) })
		s.alive(t)
		s.recovery(t)
	})
}

// killAgainAndAgain strikes n times, at any of the processes.
func (s *shop) killAgainAndAgain(t *testing.T, n int) {
	t.Helper()
	random := stream(options.seed, s.name)
	for _, m := range moments(random, n) {
		i := random.IntN(len(s.addrs))
		if !m.starting {
			s.await(m)
		}
		if s.over() {
			return
		}
		s.strike(i)
		reopen := s.shut()
		if m.starting {
			_, err := s.launch(i)
			require.NoError(t, err)
			time.Sleep(m.pause)
			s.strike(i)
		}
		_, err := s.serve(i)
		reopen()
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
