// Package egress makes HTTP clients for addresses that somebody outside has a say in: a document that another server wrote, a
// redirect, a name in somebody else's DNS. They reach the public internet and what the operator named, and nothing else (OWASP
// API7:2023, ASVS 5.0 1.3.6).
//
// What decides is the address that a name resolved to, at the moment of connecting, so that neither a second look-up nor a redirect
// leads elsewhere. The lists of addresses are IANA's, from code.dny.dev/ssrf: it is a check of one address without dependencies, which
// fits below a net.Dialer, where github.com/doyensec/safeurl brings a client of its own and a DNS library.
package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"code.dny.dev/ssrf"
)

const (
	dialTimeout  = 3 * time.Second
	maxHeader    = 64 << 10
	maxRedirects = 3
)

// Options limit a client. Timeout and MaxBody must be set.
type Options struct {
	Timeout time.Duration // of a whole exchange, redirects and body included
	MaxBody int64         // bytes of an answer; reading on fails
	// Allow are the URLs whose host and port may be anywhere, because the operator named them.
	Allow []string
	// CAFile holds the certificate authorities to believe instead of the system's; "" for those.
	CAFile string
	// Bearer is sent to the hosts of Allow alone; "" for none.
	Bearer string
}

// Loopback reports whether a host, as in a URL, is this machine by its own words: localhost, or a loopback address. Nobody is on the way there.
func Loopback(host string) bool { return host == "localhost" || net.ParseIP(host).IsLoopback() }

// Client returns a client that keeps no connection. It uses no proxy: one would resolve names in its own way. It fails when CAFile
// holds no certificate.
func Client(o Options) (*http.Client, error) {
	g := guard{o: o, plain: &net.Dialer{Timeout: dialTimeout}, guarded: &net.Dialer{Timeout: dialTimeout, Control: ssrf.New().Safe}}
	for _, text := range o.Allow {
		u, err := url.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("read an address of one's own: %w", err)
		}
		g.allowed = append(g.allowed, hostPort(u))
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CAFile != "" {
		text, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read the certificate authorities: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("read the certificate authorities: %s has no PEM certificate", o.CAFile)
		}
	}
	g.transport = &http.Transport{
		DialContext: g.dial, TLSClientConfig: config, TLSHandshakeTimeout: dialTimeout, DisableKeepAlives: true, DisableCompression: true,
		MaxResponseHeaderBytes: maxHeader,
	}
	return &http.Client{Transport: &g, Timeout: o.Timeout, CheckRedirect: redirect}, nil
}

// guard is the transport of a client.
type guard struct {
	o              Options
	allowed        []string // host:port
	plain, guarded *net.Dialer
	transport      *http.Transport
}

// RoundTrip implements http.RoundTripper.
func (g *guard) RoundTrip(r *http.Request) (*http.Response, error) {
	if g.o.Bearer != "" && slices.Contains(g.allowed, hostPort(r.URL)) {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+g.o.Bearer)
	}
	resp, err := g.transport.RoundTrip(r)
	if err == nil {
		resp.Body = http.MaxBytesReader(nil, resp.Body, g.o.MaxBody)
	}
	return resp, err
}

// dial sees the host as the URL names it; the guarded dialer's Control sees each address that it resolves to.
func (g *guard) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if slices.Contains(g.allowed, strings.ToLower(address)) {
		return g.plain.DialContext(ctx, network, address)
	}
	return g.guarded.DialContext(ctx, network, address)
}

// redirect follows few redirects, and none from https to http. Where they lead is checked by dial.
func redirect(r *http.Request, via []*http.Request) error {
	switch {
	case len(via) > maxRedirects:
		return errors.New("too many redirects")
	case r.URL.Scheme != "https" && via[0].URL.Scheme == "https":
		return errors.New("a redirect from https to " + r.URL.Scheme)
	}
	return nil
}

// hostPort is where a URL leads, in lower case and with its port.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}
