package chaos_test

import (
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cleave/platform/db"
	"cleave/platform/db/dbtest"
	"cleave/platform/event/eventtest"
)

// TestBroker carries the events over NATS JetStream, whose server is killed and
// started again, and whose connections suffer, as does the process.
func TestBroker(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		t.Parallel()
		broker, n := eventtest.NATS(t), newNetwork()
		u, err := url.Parse(broker.URL)
		require.NoError(t, err)
		s := newShop(t, c, plan{broker: "nats://" + n.proxy(t, "broker", u.Host)})
		defer s.report(t)
		random := stream(options.seed, s.name)
		s.during(t, func() {
			for _, m := range moments(random, strikes(6, 40)) {
				what, pause, x := random.IntN(4), time.Duration(random.Int64N(int64(500*time.Millisecond))), newToxic(random)
				s.await(m)
				if s.over() {
					return
				}
				switch what {
				case 0:
					s.strike(0)
					reopen := s.shut()
					_, err := s.serve(0)
					reopen()
					require.NoError(t, err)
				case 1:
					n.suffer(t, n.proxies[0], x)
					s.struck.Add(1)
				default:
					broker.Kill()
					time.Sleep(pause)
					broker.Start(t)
					s.struck.Add(1)
				}
			}
		})
		s.alive(t)
		s.recovery(t)
	})
}
