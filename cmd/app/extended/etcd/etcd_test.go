package etcd_test

import (
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/naming/endpoints"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/goleak"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"

	"cleave/cmd/app/extended/etcd"
	"cleave/cmd/app/extended/registrytest"
	"cleave/platform/nettest"
	"cleave/platform/peer"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("go.etcd.io/etcd/pkg/v3/schedule.(*fifo).run"))
}

// server starts an etcd in folder at the addresses, which it keeps over a restart.
func server(t *testing.T, folder string, client, peerURL url.URL) *embed.Etcd {
	t.Helper()
	cfg := embed.NewConfig()
	cfg.Dir, cfg.LogLevel = folder, "error"
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{peerURL}, []url.URL{peerURL}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	e, err := embed.StartEtcd(cfg)
	require.NoError(t, err)
	select {
	case <-e.Server.ReadyNotify():
	case <-time.After(30 * time.Second):
		t.Fatal("etcd does not start")
	}
	return e
}

func free(t *testing.T) url.URL {
	t.Helper()
	return url.URL{Scheme: "http", Host: nettest.FreeAddress(t)}
}

// Before etcd is there, with it, through its restart.
func TestBuilder(t *testing.T) {
	t.Parallel()
	folder, at, peers := t.TempDir(), free(t), free(t)
	p, err := peer.Dial(peer.Options{
		Module: "user", Target: "etcd://" + at.Host + "/cleave/user", Credentials: insecure.NewCredentials(), Resolvers: []resolver.Builder{etcd.Builder{}},
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })

	e := server(t, folder, at, peers)
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{at.Host}})
	require.NoError(t, err)
	manager, err := endpoints.NewManager(client, "cleave/user")
	require.NoError(t, err)
	a, b := registrytest.Serve(t, "user"), registrytest.Serve(t, "user")
	require.NoError(t, manager.AddEndpoint(t.Context(), "cleave/user/a", endpoints.Endpoint{Addr: a}))
	registrytest.Finds(t, p, a)
	require.NoError(t, manager.AddEndpoint(t.Context(), "cleave/user/b", endpoints.Endpoint{Addr: b}))
	registrytest.Finds(t, p, a, b)
	require.NoError(t, manager.DeleteEndpoint(t.Context(), "cleave/user/a"))
	registrytest.Finds(t, p, b)

	e.Close()
	require.Equal(t, peer.Ready, p.State().Status, "what is known stays")
	e = server(t, folder, at, peers)
	t.Cleanup(e.Close)
	require.NoError(t, manager.AddEndpoint(t.Context(), "cleave/user/a", endpoints.Endpoint{Addr: a}))
	registrytest.Finds(t, p, a, b)
	require.NoError(t, client.Close())
}

func TestBuilder_Target(t *testing.T) {
	t.Parallel()
	for _, target := range []string{"etcd:///cleave/user", "etcd://127.0.0.1:2379", "etcd://127.0.0.1:2379/"} {
		u, err := url.Parse(target)
		require.NoError(t, err)
		_, err = etcd.Builder{}.Build(resolver.Target{URL: *u}, nil, resolver.BuildOptions{})
		require.EqualError(t, err, "the target "+target+" names no server or no key; want etcd://HOST:PORT/PREFIX")
	}
}
