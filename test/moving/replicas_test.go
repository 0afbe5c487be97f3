package moving_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cleave/platform/nettest"
)

// services are two replicas of each module, and a gateway.
type services struct {
	site     *site
	peers    map[string]string
	replicas []*replica
	gateway  *process
}

type replica struct {
	*process
	name, module, addr string
}

func newServices(t *testing.T) *services {
	t.Helper()
	v := &services{site: newSite(t, "CLEAVE_HTTP_DRAIN_DELAY=300ms"), peers: map[string]string{}}
	for _, module := range []string{"user", "order", "notification"} {
		a, b := nettest.FreeAddress(t), nettest.FreeAddress(t)
		v.peers[module] = a + "," + b
		v.replicas = append(v.replicas, &replica{name: module + "-a", module: module, addr: a}, &replica{name: module + "-b", module: module, addr: b})
	}
	for _, r := range v.replicas {
		v.start(t, r)
	}
	v.gateway = v.site.start(t, "gateway", "", "", "", v.peers)
	return v
}

func (v *services) start(t *testing.T, r *replica) {
	t.Helper()
	peers := map[string]string{}
	for module, at := range v.peers {
		if module != r.module {
			peers[module] = at
		}
	}
	r.process = v.site.start(t, r.name, r.module, r.module, r.addr, peers)
}

// TestRollingRestart restarts one replica of each service after the other.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	v := newServices(t)
	shop := newShop(t, v.gateway.url, v.replicas[0].token, 4)
	end := shop.load(options.rate)
	time.Sleep(time.Second)
	for _, r := range v.replicas {
		r.stop(t)
		v.start(t, r)
		time.Sleep(500 * time.Millisecond)
	}
	samples := end()
	for _, r := range samples {
		require.NoError(t, r.err)
	}
	t.Logf("%d requests while each of %d replicas was restarted, none failed", len(samples), len(v.replicas))
	shop.complete(t)
}

// TestKilledReplica kills a replica of each service. Every request of the load can be repeated: reads, and writes with an
// Idempotency-Key.
func TestKilledReplica(t *testing.T) {
	t.Parallel()
	v := newServices(t)
	shop := newShop(t, v.gateway.url, v.replicas[0].token, 4)
	end := shop.load(options.rate)
	time.Sleep(time.Second)
	for _, r := range v.replicas {
		require.NoError(t, r.Signal(syscall.SIGKILL))
		<-r.Exited()
		time.Sleep(time.Second)
		v.start(t, r)
		time.Sleep(500 * time.Millisecond)
	}
	samples := end()
	for _, r := range samples {
		require.NoError(t, r.err)
	}
	t.Logf("%d requests while each of %d replicas was killed, none failed", len(samples), len(v.replicas))
	shop.complete(t)
}
