package rest

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cleave/platform/db"
	"cleave/platform/db/dbtest"
)

func limited(limits map[string]Limit) func(*Options) {
	return func(o *Options) { o.Limits, o.TrustedProxies = limits, []string{"127.0.0.1", "10.0.0.0/8"} }
}

// from makes the request come from address, through a proxy that is trusted.
func from(address string) []string { return []string{"X-Forwarded-For", address} }

func (f *fixture) recover(t testing.TB, email string, headers ...string) response {
	t.Helper()
	return f.do(t, "POST", "/api/v1/recoveries", `{"email":"`+email+`"}`, headers...)
}

func requireLimited(t testing.TB, r response) {
	t.Helper()
	require.Equal(t, http.StatusTooManyRequests, r.status, r.body)
	require.Equal(t, "rate_limited", r.problem(t).Code)
	wait, err := strconv.Atoi(r.header.Get("Retry-After"))
	require.NoError(t, err)
	require.Positive(t, wait)
	require.LessOrEqual(t, wait, 60)
}

func TestRateLimit(t *testing.T) {
	t.Parallel()
	t.Run("Address", func(t *testing.T) {
		t.Parallel()
		f := setup(t, limited(map[string]Limit{LimitRecovery: {Address: 2}}))
		for i := range 2 {
			r := f.recover(t, fmt.Sprintf("%d@example.com", i), from("192.0.2.1")...)
			require.Equal(t, 200, r.status, r.body)
			require.Equal(t, `"recovery-address";q=2;w=60`, r.header.Get("RateLimit-Policy"))
			require.Regexp(t, fmt.Sprintf(`^"recovery-address";r=%d;t=[1-6]?[0-9]$`, 1-i), r.header.Get("RateLimit"))
		}
		requireLimited(t, f.recover(t, "3@example.com", from("192.0.2.1")...))
		require.EqualValues(t, 2, f.notes.calls.Load(), "the handler ran for a request too many")
		require.Equal(t, 200, f.recover(t, "4@example.com", from("192.0.2.2")...).status)
	})
	t.Run("AddressBehindForgedHeader", func(t *testing.T) {
		t.Parallel()
		f := setup(t, limited(map[string]Limit{LimitRecovery: {Address: 1}}))
		require.Equal(t, 200, f.recover(t, "a@example.com", from("198.51.100.1, 192.0.2.1, 10.1.2.3")...).status)
		requireLimited(t, f.recover(t, "a@example.com", from("198.51.100.2, 192.0.2.1")...))
	})
	t.Run("AddressBehindForgedLine", func(t *testing.T) {
		t.Parallel()
		f := setup(t, limited(map[string]Limit{LimitRecovery: {Address: 1}}))
		require.Equal(t, 200, f.recover(t, "a@example.com", append(from("198.51.100.1"), from("192.0.2.1, 10.1.2.3")...)...).status)
		requireLimited(t, f.recover(t, "a@example.com", append(from("198.51.100.2"), from("192.0.2.1")...)...))
		require.Equal(t, 200, f.recover(t, "a@example.com", append(from("192.0.2.1"), from("192.0.2.2")...)...).status)
	})
	t.Run("UntrustedProxy", func(t *testing.T) {
		t.Parallel()
		f := setup(t, func(o *Options) { o.Limits = map[string]Limit{LimitRecovery: {Address: 1}} })
		require.Equal(t, 200, f.recover(t, "a@example.com", from("192.0.2.1")...).status)
		requireLimited(t, f.recover(t, "a@example.com", from("192.0.2.2")...))
	})
	t.Run("AccountOfTheBody", func(t *testing.T) {
		t.Parallel()
		f := setup(t, limited(map[string]Limit{LimitRecovery: {Identity: 1}}))
		require.Equal(t, 200, f.recover(t, "a@example.com", from("192.0.2.1")...).status)
		requireLimited(t, f.recover(t, " A@Example.com ", from("192.0.2.2")...))
		require.Equal(t, 200, f.recover(t, "b@example.com", from("192.0.2.1")...).status)
	})
	t.Run("WritesOfAUser", func(t *testing.T) {
		t.Parallel()
		f := setup(t, limited(map[string]Limit{LimitWrite: {Identity: 1}}))
		place := func(who string) response {
			return f.do(t, "POST", "/api/v1/notes", `{"title":"a","count":1}`, f.as(t, who)...)
		}
		require.Equal(t, 201, place("u1").status)
		requireLimited(t, place("u1"))
		require.Equal(t, 201, place("u2").status)
		require.Equal(t, 2, f.notes.count(t, "notes"))
		require.Equal(t, 200, f.do(t, "GET", "/api/v1/notes", "", f.as(t, "u1")...).status, "reading is not limited")
		require.Equal(t, 200, f.recover(t, "u1").status, "classes count for themselves")
	})
	t.Run("Unlimited", func(t *testing.T) {
		t.Parallel()
		f := setup(t, limited(map[string]Limit{LimitRecovery: {}}))
		for range 5 {
			r := f.recover(t, "a@example.com")
			require.Equal(t, 200, r.status)
			require.Empty(t, r.header.Get("RateLimit"))
		}
	})
}

// Two replicas on one Postgres let through as many as one would, once they have
// told each other.
func TestRateLimit_SharedByReplicas(t *testing.T) {
	t.Parallel()
	c := dbtest.Postgres(t)
	replica := func() *fixture {
		return setupOn(t, openNotes(t, db.Config(c)), limited(map[string]Limit{LimitRecovery: {Identity: 6}}))
	}
	a, b := replica(), replica()
	for range 3 {
		require.Equal(t, 200, a.recover(t, "a@example.com").status)
		require.Equal(t, 200, b.recover(t, "a@example.com").status)
	}
	for _, f := range []*fixture{a, b, a} { // a learns of b's in the second exchange
		for _, s := range f.api.shared {
			require.NoError(t, s.exchange(t.Context()))
		}
	}
	requireLimited(t, a.recover(t, "a@example.com"))
	requireLimited(t, b.recover(t, "a@example.com"))
	require.Equal(t, 200, a.recover(t, "b@example.com").status)
}

func TestNetwork(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "::ffff:192.0.2.1", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64",
		"fe80::1%eth0": "fe80::/64", "": "", "nonsense": "nonsense",
	} {
		require.Equal(t, want, network(address))
	}
}

// Who announces a body and does not send it holds no connection for longer than
// a request may take.
func TestSlowBody(t *testing.T) {
	t.Parallel()
	f := setup(t, func(o *Options) { o.RequestTimeout = 200 * time.Millisecond })
	conn, err := net.Dial("tcp", f.server.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "POST /api/v1/recoveries HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n{")
	require.NoError(t, err)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(20*time.Second)))
	for buffer := make([]byte, 4096); err == nil; {
		_, err = conn.Read(buffer)
	}
	require.False(t, errors.Is(err, os.ErrDeadlineExceeded), "the server keeps the connection")
	require.Zero(t, f.notes.calls.Load())
}

func TestCrossOrigin(t *testing.T) {
	t.Parallel()
	f := setup(t, func(o *Options) { o.CORSOrigins = []string{"https://shop.example"} })
	ask := func(origin, method string) response {
		return f.do(t, "OPTIONS", "/api/v1/notes", "", "Origin", origin, "Access-Control-Request-Method", method, "Access-Control-Request-Headers", "authorization")
	}
	require.Equal(t, "https://shop.example", ask("https://shop.example", "POST").header.Get("Access-Control-Allow-Origin"))
	for _, origin := range []string{"https://evil.example", "http://shop.example", "https://shop.example.evil.example", "null"} {
		require.Empty(t, ask(origin, "POST").header.Get("Access-Control-Allow-Origin"), origin)
	}
	require.Empty(t, ask("https://shop.example", "TRACE").header.Get("Access-Control-Allow-Origin"))
	r := f.do(t, "GET", "/api/v1/notes", "", append(f.as(t, "u1"), "Origin", "https://shop.example")...)
	require.Equal(t, "https://shop.example", r.header.Get("Access-Control-Allow-Origin"))
	require.Empty(t, r.header.Get("Access-Control-Allow-Credentials"))
	require.Empty(t, setup(t).do(t, "GET", "/api/v1/notes", "", "Origin", "https://shop.example").header.Get("Access-Control-Allow-Origin"))
}

func TestOnlyHTTPS(t *testing.T) {
	t.Parallel()
	require.Empty(t, setup(t).do(t, "GET", livePath, "").header.Get("Strict-Transport-Security"))
	r := setup(t, func(o *Options) { o.HTTPS = true }).do(t, "GET", livePath, "")
	require.Contains(t, r.header.Get("Strict-Transport-Security"), "max-age=31536000")
}
