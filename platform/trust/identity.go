package trust

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"cleave/platform/tlsfiles"
)

// Identity is who this process is and whom it trusts. Renewed files count from the next connection and the next token on.
type Identity struct {
	self  Peer
	log   *slog.Logger
	now   func() time.Time
	files *tlsfiles.Watched[*material]

	accounts  *accounts // nil: client certificates alone prove a process
	tokenFile string    // "": the client certificate is shown
}

// material is one generation of the files, with what was computed from it.
type material struct {
	id      spiffeid.ID
	peer    Peer
	pair    *tls.Certificate
	key     *ecdsa.PrivateKey
	x5c     []string // the certificate and its intermediates, as RFC 7515 section 4.1.6 wants them
	bundle  *x509bundle.Bundle
	signed  *signedTokens
	checked *checkedTokens
}

// Load reads PEM files: the process's certificate with its intermediates, its key, and the authorities of the trust domain. The error
// says which file is wrong and how. Files that replace them must keep the SPIFFE id.
func Load(cert, key, ca string, log *slog.Logger, now func() time.Time) (*Identity, error) {
	i := &Identity{log: log, now: now}
	files, err := tlsfiles.Watch("TLS certificate", []string{cert, key, ca}, func() (*material, time.Time, error) {
		m, err := read(cert, key, ca, now())
		if err != nil {
			return nil, time.Time{}, err
		}
		if i.self.ID != "" && m.peer.ID != i.self.ID {
			return nil, time.Time{}, fmt.Errorf("the certificate %s is for %s, and this process is %s", cert, m.peer.ID, i.self.ID)
		}
		return m, m.pair.Leaf.NotAfter, nil
	}, log, now)
	if err != nil {
		return nil, err
	}
	i.files = files
	i.self = i.material().peer
	return i, nil
}

// ID is the process's SPIFFE id.
func (i *Identity) ID() string { return i.self.ID }

// Modules are those that the process may speak for.
func (i *Identity) Modules() []string { return slices.Clone(i.self.Modules) }

// Gateway reports whether the process runs no module.
func (i *Identity) Gateway() bool { return len(i.self.Modules) == 0 }

func (i *Identity) material() *material { return i.files.Get(context.Background()) }

func read(cert, key, ca string, now time.Time) (*material, error) {
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("read the certificate %s and the key %s: %w", cert, key, err)
	}
	id, err := x509svid.IDFromCert(pair.Leaf)
	if err != nil {
		return nil, fmt.Errorf("the certificate %s names no process: %w", cert, err)
	}
	authorities, err := os.ReadFile(ca)
	if err != nil {
		return nil, fmt.Errorf("read the authorities: %w", err)
	}
	m := &material{id: id, pair: &pair, signed: newSignedTokens(), checked: newCheckedTokens()}
	if m.bundle, err = x509bundle.Parse(id.TrustDomain(), authorities); err != nil {
		return nil, fmt.Errorf("read the authorities %s: %w", ca, err)
	}
	if m.bundle.Empty() {
		return nil, fmt.Errorf("read the authorities %s: no certificate in it", ca)
	}
	chain := make([]*x509.Certificate, len(pair.Certificate))
	for n, der := range pair.Certificate {
		m.x5c = append(m.x5c, base64.StdEncoding.EncodeToString(der))
		if chain[n], err = x509.ParseCertificate(der); err != nil {
			return nil, fmt.Errorf("read the certificate %s: %w", cert, err)
		}
	}
	proven, err := m.prove(chain, now)
	if err != nil {
		return nil, fmt.Errorf("the certificate %s does not fit the authorities %s: %w", cert, ca, err)
	}
	m.peer = proven.peer
	m.key, _ = pair.PrivateKey.(*ecdsa.PrivateKey) // of the same kind as the certificate's, which prove has checked
	return m, nil
}

// proven is what a certificate chain proves about the process that has its key.
type proven struct {
	peer     Peer
	key      *ecdsa.PublicKey
	notAfter time.Time // when the first certificate of the chain expires
}

// prove checks an X.509-SVID against the trust bundle (X509-SVID.md, sections 4 and 5): one URI, of this trust domain and of our
// scheme, no authority of its own, usable at both ends of a connection, and signed by one of the authorities. Revocation is by
// short life: there are no lists.
func (m *material) prove(chain []*x509.Certificate, now time.Time) (proven, error) {
	id, chains, err := x509svid.Verify(chain, m.bundle, x509svid.WithTime(now))
	if err != nil {
		return proven{}, err
	}
	leaf := chain[0]
	key, ok := leaf.PublicKey.(*ecdsa.PublicKey)
	switch {
	case !ok || key.Curve != elliptic.P256():
		return proven{}, errors.New("its key is not ECDSA on P-256")
	case leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return proven{}, errors.New("its key usage lacks digitalSignature")
	case len(leaf.ExtKeyUsage)+len(leaf.UnknownExtKeyUsage) > 0 &&
		(!slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageServerAuth) || !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageClientAuth)):
		return proven{}, errors.New("its extended key usage lacks serverAuth or clientAuth")
	}
	p := proven{key: key, notAfter: leaf.NotAfter}
	for _, c := range chains[0] {
		if c.NotAfter.Before(p.notAfter) {
			p.notAfter = c.NotAfter
		}
	}
	p.peer, err = peerOf(id)
	return p, err
}
