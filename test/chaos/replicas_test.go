package chaos_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cleave/platform/db/dbtest"
)

// TestReplicas runs two processes on one database and kills one of them again
// and again; clients go to the other one.
func TestReplicas(t *testing.T) {
	t.Parallel()
	s := newShop(t, dbtest.Postgres(t), plan{replicas: 2, single: true})
	defer s.report(t)
	s.during(t, func() { s.killAgainAndAgain(t, strikes(3, 25)) })
	s.alive(t)
	s.recovery(t)
}

// TestFrozen stops one of two processes for longer than its leases last, and
// lets it go on with what it believes to own.
func TestFrozen(t *testing.T) {
	t.Parallel()
	s := newShop(t, dbtest.Postgres(t), plan{replicas: 2, lease: time.Second})
	defer s.report(t)
	random := stream(options.seed, s.name)
	s.during(t, func() {
		for _, m := range moments(random, strikes(2, 12)) {
			i, pause := random.IntN(2), time.Second+time.Duration(random.Int64N(int64(2*time.Second)))
			s.await(m)
			if s.over() {
				return
			}
			p := s.running[i]
			require.NoError(t, p.Signal(syscall.SIGSTOP))
			time.Sleep(pause)
			require.NoError(t, p.Signal(syscall.SIGCONT))
			s.struck.Add(1)
		}
	})
	s.alive(t)
	s.recovery(t)
}
