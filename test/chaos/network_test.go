package chaos_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"cleave/platform/db"
	"cleave/platform/db/dbtest"
	"cleave/platform/nettest"
)

// network is what connections go through, and where they suffer.
type network struct {
	server  *toxiproxy.ApiServer
	proxies []*toxiproxy.Proxy
}

func newNetwork() *network {
	return &network{server: toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())}
}

// proxy returns an address that leads to the given one.
func (n *network) proxy(t *testing.T, name, to string) string {
	t.Helper()
	p := toxiproxy.NewProxy(n.server, name, nettest.FreeAddress(t), to)
	require.NoError(t, p.Start())
	t.Cleanup(p.Stop)
	n.proxies = append(n.proxies, p)
	return p.Listen
}

// postgres is a database as it is reached through the network.
func (n *network) postgres(t *testing.T, c db.Config) db.Config {
	t.Helper()
	addr := ""
	for _, dsn := range []*string{&c.DSN, &c.AdminDSN} {
		u, err := url.Parse(*dsn)
		require.NoError(t, err)
		if addr == "" {
			addr = n.proxy(t, "postgres", u.Host)
		}
		u.Host = addr
		*dsn = u.String()
	}
	return c
}

// toxic is one thing that a network does to connections.
type toxic struct {
	Type       string         `json:"type"` // of toxiproxy's; "" takes all connections down and refuses new ones
	Stream     string         `json:"stream"`
	Toxicity   float64        `json:"toxicity"` // the part of the connections that suffer
	Attributes map[string]int `json:"attributes"`
	lasts      time.Duration
}

func (x toxic) String() string {
	if x.Type == "" {
		return fmt.Sprintf("down for %v", x.lasts)
	}
	return fmt.Sprintf("%s %v %s, %.1f of all, for %v", x.Type, x.Attributes, x.Stream, x.Toxicity, x.lasts)
}

// newToxic is the next one. Downstream is the way of the answers: what is lost
// there has happened.
func newToxic(r *rand.Rand) toxic {
	x := toxic{Stream: []string{"upstream", "downstream", "downstream"}[r.IntN(3)], Toxicity: []float64{0.3, 1}[r.IntN(2)]}
	x.lasts = 100*time.Millisecond + time.Duration(r.Int64N(int64(900*time.Millisecond)))
	switch r.IntN(6) {
	case 0:
		x.Type, x.Attributes = "latency", map[string]int{"latency": 10 + r.IntN(150), "jitter": 10}
	case 1:
		x.Type, x.Attributes = "reset_peer", map[string]int{"timeout": r.IntN(20)}
	case 2:
		x.Type, x.Attributes = "timeout", map[string]int{"timeout": 0} // swallows everything until it is removed
	case 3:
		x.Type, x.Attributes = "limit_data", map[string]int{"bytes": 1 + r.IntN(4000)}
	case 4:
		x.Type, x.Attributes = "slicer", map[string]int{"average_size": 20, "size_variation": 10, "delay": 100}
	}
	return x
}

// suffer puts the toxic on a proxy for as long as it lasts.
func (n *network) suffer(t *testing.T, p *toxiproxy.Proxy, x toxic) {
	t.Helper()
	if x.Type == "" {
		p.Stop()
		time.Sleep(x.lasts)
		require.NoError(t, p.Start())
		return
	}
	text, err := json.Marshal(x)
	require.NoError(t, err)
	added, err := p.Toxics.AddToxicJson(strings.NewReader(string(text)))
	require.NoError(t, err)
	time.Sleep(x.lasts)
	require.NoError(t, p.Toxics.RemoveToxic(t.Context(), added.Name))
}

// TestNetwork resets, cuts, delays and swallows what clients and the process,
// and the process and Postgres, say to each other.
func TestNetwork(t *testing.T) {
	t.Parallel()
	n := newNetwork()
	s := newShop(t, dbtest.Postgres(t), plan{via: n})
	defer s.report(t)
	random := stream(options.seed, s.name)
	s.during(t, func() {
		for range strikes(8, 60) {
			if s.over() {
				return
			}
			p, x := n.proxies[random.IntN(len(n.proxies))], newToxic(random)
			n.suffer(t, p, x)
			s.struck.Add(1)
			time.Sleep(time.Duration(random.Int64N(int64(300 * time.Millisecond))))
		}
	})
	s.alive(t)
	s.recovery(t)
}
