package chaos_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cleave/platform/db/dbtest"
)

// TestPostgres ends the database server at once and starts it again, while the
// process goes on.
func TestPostgres(t *testing.T) {
	t.Parallel()
	server := dbtest.Cluster(t, dbtest.Options{})
	s := newShop(t, server.Database(t), plan{})
	defer s.report(t)
	random := stream(options.seed, s.name)
	s.during(t, func() {
		for _, m := range moments(random, strikes(2, 12)) {
			s.await(m)
			if s.over() {
				return
			}
			require.NoError(t, server.Restart(time.Duration(random.Int64N(int64(400*time.Millisecond)))))
			s.struck.Add(1)
		}
	})
	s.alive(t)
	s.recovery(t)
}
