package consul_test

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"

	"cleave/cmd/app/extended/consul"
	"cleave/cmd/app/extended/registrytest"
	"cleave/platform/peer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// agent answers GET /v1/health/service/user as a Consul agent is documented to
// (developer.hashicorp.com/consul/api-docs/health), blocking queries included. Consul itself is not to be had as a Go module.
type agent struct {
	mu        sync.Mutex
	index     uint64
	addresses []string
	broken    bool
	changed   chan struct{}
}

func (a *agent) set(broken bool, index uint64, addresses ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.broken, a.index, a.addresses = broken, index, addresses
	close(a.changed)
	a.changed = make(chan struct{})
}

func (a *agent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if r.URL.Path != "/v1/health/service/user" || q.Get("passing") != "1" || q.Get("tag") != "blue" || r.Header.Get("X-Consul-Token") != "" {
		http.Error(w, "not as documented: "+r.URL.String(), http.StatusBadRequest)
		return
	}
	asked, _ := strconv.ParseUint(q.Get("index"), 10, 64)
	a.mu.Lock()
	if asked > 0 && asked >= a.index && !a.broken {
		changed := a.changed
		a.mu.Unlock()
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
		a.mu.Lock()
	}
	defer a.mu.Unlock()
	if a.broken {
		http.Error(w, "no cluster leader", http.StatusInternalServerError)
		return
	}
	entries := []map[string]any{}
	for i, addr := range a.addresses {
		host, port, _ := net.SplitHostPort(addr)
		n, _ := strconv.Atoi(port)
		service := map[string]any{"Service": "user", "Address": host, "Port": n}
		if i == 0 {
			service["Address"] = "" // then that of the node counts
		}
		entries = append(entries, map[string]any{"Node": map[string]any{"Address": host}, "Service": service})
	}
	w.Header().Set("X-Consul-Index", strconv.FormatUint(a.index, 10))
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(entries)
}

func TestBuilder(t *testing.T) {
	t.Parallel()
	a := &agent{index: 1, changed: make(chan struct{})}
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	require.NoError(t, err)
	p, err := peer.Dial(peer.Options{
		Module: "user", Target: "consul://" + u.Host + "/user?tag=blue", Credentials: insecure.NewCredentials(), Resolvers: []resolver.Builder{consul.Builder{}},
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	require.Eventually(t, func() bool { return p.State().Status == peer.Failing }, 20*time.Second, 5*time.Millisecond, "there is nobody yet")

	first, second := registrytest.Serve(t, "user"), registrytest.Serve(t, "user")
	a.set(false, 7, first)
	registrytest.Finds(t, p, first)
	a.set(false, 9, first, second)
	registrytest.Finds(t, p, first, second)
	a.set(true, 9)
	require.Equal(t, peer.Ready, p.State().Status, "what is known stays while Consul is away")
	a.set(false, 2, second) // with a new index, as after a restore
	registrytest.Finds(t, p, second)
	a.set(false, 3)
	a.set(false, 4, first)
	registrytest.Finds(t, p, first)
}

func TestBuilder_Target(t *testing.T) {
	t.Parallel()
	for _, target := range []string{"consul://agent:8500", "consul://agent:8500/", "consul:///a/b"} {
		u, err := url.Parse(target)
		require.NoError(t, err)
		_, err = consul.Builder{}.Build(resolver.Target{URL: *u}, nil, resolver.BuildOptions{})
		require.EqualError(t, err, "the target "+target+" names no service; want consul://AGENT:PORT/SERVICE")
	}
}
