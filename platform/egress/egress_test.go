package egress

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"code.dny.dev/ssrf"
	"github.com/stretchr/testify/require"
)

func setup(t *testing.T, o Options) *http.Client {
	t.Helper()
	o.Timeout, o.MaxBody = 5*time.Second, 100
	c, err := Client(o)
	require.NoError(t, err)
	return c
}

// inside is a server that only those who are named may reach.
func inside(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func get(t *testing.T, c *http.Client, url string) (*http.Response, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	require.NoError(t, err)
	resp, err := c.Do(r)
	if err == nil {
		t.Cleanup(func() { _ = resp.Body.Close() })
	}
	return resp, err
}

func TestClient_Inside(t *testing.T) {
	t.Parallel()
	secret := inside(t, func(http.ResponseWriter, *http.Request) { t.Error("an address inside was reached") })
	_, port, err := net.SplitHostPort(strings.TrimPrefix(secret, "http://"))
	require.NoError(t, err)
	c := setup(t, Options{})
	for _, url := range []string{
		secret, "http://localhost:" + port, "http://[::ffff:127.0.0.1]:" + port, "http://[::1]:" + port, "http://0.0.0.0:" + port, "http://2130706433:" + port,
		"http://127.1:" + port,
	} {
		_, err := get(t, c, url)
		require.Error(t, err, url)
	}
	_, err = get(t, c, "http://127.0.0.1")
	require.ErrorIs(t, err, ssrf.ErrProhibitedIP)
}

// TestClient_Addresses asks the guard of the dialer about addresses that no test can listen on.
func TestClient_Addresses(t *testing.T) {
	t.Parallel()
	guarded := setup(t, Options{}).Transport.(*guard).guarded
	for address, allowed := range map[string]bool{
		"10.0.0.1:443": false, "172.16.0.1:443": false, "192.168.1.1:443": false, "127.0.0.1:443": false, "169.254.169.254:80": false,
		"100.64.0.1:443": false, "224.0.0.1:443": false, "0.0.0.0:443": false, "255.255.255.255:443": false,
		"[::1]:443": false, "[::]:443": false, "[fe80::1]:443": false, "[fd00::1]:443": false, "[fc00::1]:443": false, "[ff02::1]:443": false,
		"[::ffff:10.0.0.1]:443": false, "[64:ff9b::a00:1]:443": false, "[2002:a00:1::]:443": false, "[fd00:ec2::254]:80": false,
		"1.1.1.1:22": false, "1.1.1.1:443": true, "[2606:4700:4700::1111]:443": true,
	} {
		network := "tcp4"
		if address[0] == '[' {
			network = "tcp6"
		}
		err := guarded.Control(network, address, nil)
		require.Equal(t, allowed, err == nil, "%s: %v", address, err)
	}
}

func TestClient_Allowed(t *testing.T) {
	t.Parallel()
	var elsewhere string
	secret := inside(t, func(http.ResponseWriter, *http.Request) { t.Error("an address inside was reached") })
	own := inside(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/inside":
			http.Redirect(w, r, secret, http.StatusFound)
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case "/elsewhere":
			http.Redirect(w, r, elsewhere, http.StatusFound)
		case "/long":
			_, _ = io.WriteString(w, strings.Repeat("x", 101))
		case "/header":
			w.Header().Set("X-Long", strings.Repeat("x", 2*maxHeader))
		default:
			_, _ = io.WriteString(w, r.Header.Get("Authorization"))
		}
	})
	other := inside(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "other"+r.Header.Get("Authorization"))
	})
	c := setup(t, Options{Allow: []string{own}, Bearer: "tok"})
	body := func(c *http.Client, path string) string {
		resp, err := get(t, c, own+path)
		require.NoError(t, err)
		text, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return string(text)
	}
	require.Equal(t, "Bearer tok", body(c, "/"))
	_, err := get(t, c, own+"/inside")
	require.ErrorContains(t, err, "not a permitted port", "a redirect is checked like the first address")
	_, err = get(t, c, own+"/loop")
	require.ErrorContains(t, err, "too many redirects")
	resp, err := get(t, c, own+"/long")
	require.NoError(t, err)
	_, err = io.ReadAll(resp.Body)
	require.ErrorContains(t, err, "too large")
	_, err = get(t, c, own+"/header")
	require.Error(t, err)

	// To one that is allowed, too, but without a token of its own: here it is the operator's, so it gets it.
	elsewhere = other
	require.Equal(t, "otherBearer tok", body(setup(t, Options{Allow: []string{own, other}, Bearer: "tok"}), "/elsewhere"))
	require.Equal(t, "", body(setup(t, Options{Allow: []string{own}}), "/"))
}

func TestClient_TLS(t *testing.T) {
	t.Parallel()
	plain := inside(t, func(http.ResponseWriter, *http.Request) { t.Error("a redirect led from https to http") })
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, plain, http.StatusFound) }))
	t.Cleanup(s.Close)
	_, err := get(t, setup(t, Options{Allow: []string{s.URL, plain}}), s.URL)
	require.ErrorContains(t, err, "certificate")

	_, err = Client(Options{CAFile: t.TempDir()})
	require.ErrorContains(t, err, "certificate authorities")
	_, err = Client(Options{CAFile: "egress_test.go"})
	require.ErrorContains(t, err, "no PEM certificate")
	require.ErrorContains(t, redirect(httptest.NewRequestWithContext(context.Background(), http.MethodGet, plain, http.NoBody),
		[]*http.Request{httptest.NewRequestWithContext(context.Background(), http.MethodGet, s.URL, http.NoBody)}), "from https")
}
