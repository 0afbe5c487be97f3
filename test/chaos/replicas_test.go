package chaos_test

import (
	"testing"

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
