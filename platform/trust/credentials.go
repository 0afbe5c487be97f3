package trust

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"

	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"google.golang.org/grpc/credentials"
)

// ServerCredentials take connections from processes of the same trust domain alone, whatever they run: Caller says which one it is.
func (i *Identity) ServerCredentials() credentials.TransportCredentials {
	c := i.config(func(Peer) error { return nil })
	c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return i.material().pair, nil }
	c.ClientAuth = tls.RequireAnyClientCert
	return serverCredentials{credentials.NewTLS(c), i.log}
}

// ClientCredentials connect to processes of the same trust domain alone that run the module.
func (i *Identity) ClientCredentials(module string) credentials.TransportCredentials {
	c := i.config(func(p Peer) error {
		if !p.Runs(module) {
			return fmt.Errorf("the process that answers is %s, which does not run the module %s", p.ID, module)
		}
		return nil
	})
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return i.material().pair, nil }
	c.InsecureSkipVerify = true // VerifyConnection proves the id instead of a host name
	return credentials.NewTLS(c)
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

// authInfo is what gRPC keeps about a connection: who is at its other end.
type authInfo struct {
	credentials.TLSInfo
	peer Peer
}

type serverCredentials struct {
	credentials.TransportCredentials
	log *slog.Logger
}

func (c serverCredentials) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := c.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		if !errors.Is(err, io.EOF) { // a probe that only connects
			c.log.Warn("connection refused", "from", raw.RemoteAddr().String(), "error", err)
		}
		return nil, nil, err
	}
	p, err := peerAt(info)
	if err != nil {
		_ = conn.Close()
		return nil, nil, err
	}
	return conn, p, nil
}

func (c serverCredentials) Clone() credentials.TransportCredentials {
	return serverCredentials{c.TransportCredentials.Clone(), c.log}
}

// peerAt reads who is at the other end from a certificate that VerifyConnection has accepted.
func peerAt(info credentials.AuthInfo) (authInfo, error) {
	t, ok := info.(credentials.TLSInfo)
	if !ok || len(t.State.PeerCertificates) == 0 {
		return authInfo{}, errors.New("the connection has no certificate")
	}
	id, err := x509svid.IDFromCert(t.State.PeerCertificates[0])
	if err != nil {
		return authInfo{}, err
	}
	p, err := peerOf(id)
	return authInfo{TLSInfo: t, peer: p}, err
}
