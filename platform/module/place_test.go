package module_test

import (
	"context"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"cleave/platform/config"
	"cleave/platform/module"
)

// TestNewHost_RefusesTopology starts nothing: each set-up could never work.
func TestNewHost_RefusesTopology(t *testing.T) {
	t.Parallel()
	serve := func(context.Context) string { return "" }
	user := withKeys(t, spec("user", serve))
	order := spec("order", serve, "user")
	files := func(c *config.Config) {
		c.Topology.TLSCert, c.Topology.TLSKey, c.Topology.TLSCA = "cert", "key", "ca"
	}
	for name, c := range map[string]struct {
		set  func(c *config.Config)
		want []string
	}{
		"UnknownModule": {func(c *config.Config) { c.Topology.Modules = []string{"orders"} }, []string{`topology.modules names "orders", allowed: all, user, order`}},
		"NoPeer": {func(c *config.Config) {
			files(c)
			c.Topology.Modules, c.Topology.Addr, c.Events.Pipe = []string{"order"}, ":0", "nats://localhost"
		}, []string{"set topology.peers.user to the address"}},
		"NoListener": {func(c *config.Config) {
			files(c)
			c.Topology.Modules, c.Topology.Peers, c.Events.Pipe = []string{"order"}, map[string]string{"user": "localhost:1"}, "nats://localhost"
		}, []string{"topology.addr is empty"}},
		"UnknownPeer": {func(c *config.Config) {
			files(c)
			c.Topology.Peers = map[string]string{"users": "localhost:1"}
		}, []string{`topology.peers names "users", allowed: user, order`}},
		"LeadsBack": {func(c *config.Config) {
			files(c)
			c.Topology.Modules, c.Topology.Addr, c.Events.Pipe = []string{"order"}, "127.0.0.1:7443", "nats://localhost"
			c.Topology.Peers = map[string]string{"user": "localhost:1,127.0.0.1:7443"}
		}, []string{"topology.peers.user is 127.0.0.1:7443, which is topology.addr of this process"}},
		"NoCertificates": {func(c *config.Config) { c.Topology.Addr = ":0" }, []string{"topology.tls_cert is empty", "topology.tls_key is empty", "topology.tls_ca is empty"}},
	} {
		cfg := config.Default()
		c.set(cfg)
		_, err := module.NewHost(cfg, module.Options{Log: slog.New(slog.DiscardHandler)}, order, user)
		var start *module.StartError
		require.ErrorAs(t, err, &start, name)
		for _, want := range c.want {
			require.ErrorContains(t, err, want, name)
		}
	}
}
