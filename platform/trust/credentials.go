package trust

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"cleave/platform/rpc"
)

// ServerCredentials take connections from processes of the same trust domain alone, whatever they run: Caller says which one it is.
// After Accept they also take those without a certificate, and Guard is needed to ask each call.
func (i *Identity) ServerCredentials() credentials.TransportCredentials {
	c := i.config(func(Peer) error { return nil })
	c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return i.material().pair, nil }
	c.ClientAuth = tls.RequireAnyClientCert // VerifyConnection verifies it
	if i.accounts != nil {
		c.ClientAuth = tls.RequestClientCert
		prove := c.VerifyConnection
		c.VerifyConnection = func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 {
				return nil // each of its calls must prove itself
			}
			return prove(s)
		}
	}
	return serverCredentials{credentials.NewTLS(c), i}
}

// ClientCredentials connect to processes of the same trust domain alone that run the module. Calls for a user need CallCredentials, too.
func (i *Identity) ClientCredentials(module string) credentials.TransportCredentials {
	c := i.config(func(p Peer) error {
		if !p.Runs(module) {
			return fmt.Errorf("the process that answers is %s, which does not run the module %s", p.ID, module)
		}
		return nil
	})
	c.InsecureSkipVerify = true // #nosec G402 -- VerifyConnection proves the id instead of a host name
	return clientCredentials{credentials.NewTLS(c), c, i}
}

// clientCredentials remember for each connection which certificate it showed.
type clientCredentials struct {
	credentials.TransportCredentials
	config   *tls.Config
	identity *Identity
}

func (c clientCredentials) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	shown := c.identity.material()
	config := c.config.Clone()
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if c.identity.tokenFile != "" {
			return &tls.Certificate{}, nil
		}
		return shown.pair, nil
	}
	conn, info, err := credentials.NewTLS(config).ClientHandshake(ctx, authority, raw)
	if err != nil {
		return nil, nil, err
	}
	at := authInfo{shown: shown}
	at.TLSInfo, _ = info.(credentials.TLSInfo)
	return conn, at, nil
}

func (c clientCredentials) Clone() credentials.TransportCredentials {
	return clientCredentials{c.TransportCredentials.Clone(), c.config, c.identity}
}

// config proves the other end of every connection: crypto/tls calls VerifyConnection for resumed ones, too, and there are none,
// so that each is checked against the bundle of its day.
func (i *Identity) config(accept func(Peer) error) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true, Time: i.now,
		VerifyConnection: func(s tls.ConnectionState) error {
			p, err := i.material().prove(s.PeerCertificates, i.now())
			if err != nil {
				return err
			}
			return accept(p.peer)
		},
	}
}

// authInfo is what gRPC keeps about a connection.
type authInfo struct {
	credentials.TLSInfo

	shown *material // of the client: whose certificate it showed

	peer     Peer             // of the server: zero without a certificate
	key      *ecdsa.PublicKey // of that certificate
	accounts *accounts        // that prove each call without one
}

type serverCredentials struct {
	credentials.TransportCredentials
	identity *Identity
}

func (c serverCredentials) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := c.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		if !errors.Is(err, io.EOF) { // a probe that only connects
			c.identity.log.Warn("connection refused", "from", raw.RemoteAddr().String(), "error", err)
		}
		return nil, nil, err
	}
	proven := authInfo{accounts: c.identity.accounts}
	proven.TLSInfo, _ = info.(credentials.TLSInfo)
	if certs := proven.State.PeerCertificates; len(certs) > 0 {
		proven.key, _ = certs[0].PublicKey.(*ecdsa.PublicKey)
		if proven.peer, err = named(certs[0]); err != nil {
			_ = conn.Close()
			return nil, nil, err
		}
	}
	return conn, proven, nil
}

func (c serverCredentials) Clone() credentials.TransportCredentials {
	return serverCredentials{c.TransportCredentials.Clone(), c.identity}
}

// named reads who a certificate is for that VerifyConnection has accepted.
func named(c *x509.Certificate) (Peer, error) {
	id, err := x509svid.IDFromCert(c)
	if err != nil {
		return Peer{}, err
	}
	return peerOf(id)
}

// Guard lets no call in, of any service, whose sender Caller does not know.
func Guard() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
			if _, err := Caller(ctx); err != nil {
				return nil, rpc.Status(err)
			}
			return handler(ctx, req)
		}),
		grpc.ChainStreamInterceptor(func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
			if _, err := Caller(stream.Context()); err != nil {
				return rpc.Status(err)
			}
			return handler(srv, stream)
		}),
	}
}
