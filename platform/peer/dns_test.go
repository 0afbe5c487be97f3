package peer_test

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"

	"cleave/platform/peer"
)

// nameServer answers for user.test with the addresses that it is given.
type nameServer struct {
	mu        sync.Mutex
	addresses []string
}

func (n *nameServer) set(addresses ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.addresses = addresses
}

// resolver starts the server and returns a resolver that asks it.
func (n *nameServer) resolver(t *testing.T) *net.Resolver {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 512)
		for {
			size, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			if answer, err := n.answer(b[:size]); err == nil {
				_, _ = c.WriteTo(answer, from)
			}
		}
	}()
	t.Cleanup(func() { _ = c.Close(); <-done })
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", c.LocalAddr().String())
	}}
}

func (n *nameServer) answer(question []byte) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(question); err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	q := m.Questions[0]
	m.Response, m.Additionals = true, nil
	if !strings.EqualFold(q.Name.String(), "user.test.") || len(n.addresses) == 0 {
		m.RCode = dnsmessage.RCodeNameError
	} else if q.Type == dnsmessage.TypeA {
		for _, a := range n.addresses {
			m.Answers = append(m.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, Type: q.Type},
				Body:   &dnsmessage.AResource{A: netip.MustParseAddr(a).As4()},
			})
		}
	}
	return m.Pack()
}

func TestPeer_DNS(t *testing.T) {
	t.Parallel()
	names := &nameServer{}
	a := serve(t, "127.0.0.2:0", nil)
	_, port, err := net.SplitHostPort(a.addr)
	require.NoError(t, err)
	p := dial(t, peer.Options{Target: "dns:///user.test:" + port, DNS: names.resolver(t)})
	require.Eventually(t, func() bool { return p.State().Status == peer.Failing }, 20*time.Second, 5*time.Millisecond)
	require.Equal(t, "the name user.test cannot be resolved", p.State().Error)

	names.set("127.0.0.2")
	reaches(t, p, a)
	b := serve(t, "127.0.0.3:"+port, nil)
	names.set("127.0.0.2", "127.0.0.3")
	reaches(t, p, a, b)

	names.set("127.0.0.3")
	require.Eventually(t, func() bool { return len(p.State().Addresses) == 1 }, 20*time.Second, 5*time.Millisecond)
	a.server.Stop()
	for range 10 {
		require.NoError(t, call(t, p))
	}
	names.set()
	p2 := dial(t, peer.Options{Target: "dns:///other.test:" + port, DNS: names.resolver(t)})
	require.Error(t, call(t, p2))
	require.NoError(t, call(t, p), "a name server that fails takes nothing away")
}
