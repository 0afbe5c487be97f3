// Package authority issues the certificates of package trust from a key in a folder: for development and tests. In production an
// authority does it that keeps its key elsewhere, such as cert-manager or SPIRE.
package authority

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// How long certificates are valid.
const (
	Lifetime          = 30 * 24 * time.Hour // of a process's certificate
	authorityLifetime = 10 * 365 * 24 * time.Hour
	skew              = 5 * time.Minute // before now, for clocks that are late
)

// caName is the authority among the names in the folder.
const caName = "ca"

var (
	processName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)
	moduleName  = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)
)

// Authority signs for one trust domain.
type Authority struct {
	dir    string
	domain spiffeid.TrustDomain
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	now    func() time.Time
}

// Files are where the certificate, the key and the authorities of a process are.
type Files struct{ Cert, Key, CA string }

// Open returns the authority whose certificate and key are ca.crt and ca.key in the folder, and makes one if the folder has neither.
// It refuses the folder of another trust domain, and an authority that expires before what it would sign.
func Open(dir, domain string, now func() time.Time) (*Authority, error) {
	td, err := spiffeid.TrustDomainFromString(domain)
	if err != nil || strings.Contains(domain, "/") {
		return nil, fmt.Errorf("trust domain %q: want a name of lower-case letters, digits, dots, dashes and underscores, such as example.org", domain)
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("make the folder of the certificates: %w", err)
	}
	a := &Authority{dir: dir, domain: td, now: now}
	files := a.files(caName)
	_, noCert := os.Stat(files.Cert)
	_, noKey := os.Stat(files.Key)
	if errors.Is(noCert, fs.ErrNotExist) && errors.Is(noKey, fs.ErrNotExist) {
		return a, a.create(files)
	}
	return a, a.load(files)
}

func (a *Authority) files(name string) Files {
	return Files{Cert: filepath.Join(a.dir, name+".crt"), Key: filepath.Join(a.dir, name+".key"), CA: filepath.Join(a.dir, caName+".crt")}
}

func (a *Authority) create(files Files) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make the authority's key: %w", err)
	}
	a.key = key
	// X509-SVID.md, sections 4.1 to 4.3: an authority has the bare trust domain as its URI.
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "cleave development authority"}, URIs: []*url.URL{a.domain.ID().URL()},
		NotBefore: a.now().Add(-skew), NotAfter: a.now().Add(authorityLifetime),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	a.cert = template
	if a.cert, err = a.sign(files, template, key); err != nil {
		return fmt.Errorf("make the authority: %w", err)
	}
	return nil
}

func (a *Authority) load(files Files) error {
	text, err := os.ReadFile(files.Cert)
	if err != nil {
		return fmt.Errorf("read the authority: %w", err)
	}
	if block, _ := pem.Decode(text); block != nil {
		a.cert, err = x509.ParseCertificate(block.Bytes)
	}
	if err != nil || a.cert == nil {
		return fmt.Errorf("read the authority %s: no certificate in it", files.Cert)
	}
	if text, err = os.ReadFile(files.Key); err != nil {
		return fmt.Errorf("read the authority's key: %w", err)
	}
	if block, _ := pem.Decode(text); block != nil {
		key, _ := x509.ParsePKCS8PrivateKey(block.Bytes)
		a.key, _ = key.(*ecdsa.PrivateKey)
	}
	switch {
	case a.key == nil || !a.key.PublicKey.Equal(a.cert.PublicKey):
		return fmt.Errorf("%s is not the key of %s", files.Key, files.Cert)
	case len(a.cert.URIs) != 1 || a.cert.URIs[0].String() != a.domain.IDString():
		return fmt.Errorf("the authority %s is not of the trust domain %s: name its own, or another folder", files.Cert, a.domain)
	case a.cert.NotAfter.Before(a.now().Add(Lifetime)):
		return fmt.Errorf("the authority %s expires on %s: use another folder, and let the processes trust both for a while", files.Cert, a.cert.NotAfter.Format(time.DateOnly))
	}
	return nil
}

// Check returns an error for a process that Issue would refuse.
func Check(process string, modules []string) error {
	if !processName.MatchString(process) || process == caName {
		return fmt.Errorf("process name %q: want lower-case letters, digits and dashes, beginning with a letter, and not %q", process, caName)
	}
	for i, m := range modules {
		if !moduleName.MatchString(m) {
			return fmt.Errorf("module name %q of the process %s: want lower-case letters, digits and underscores, beginning with a letter", m, process)
		}
		if slices.Contains(modules[:i], m) {
			return fmt.Errorf("the process %s has the module %s twice", process, m)
		}
	}
	return nil
}

// ID is the SPIFFE id of a process that runs the modules; with none it is a gateway.
func (a *Authority) ID(modules ...string) string {
	if len(modules) == 0 {
		return a.domain.IDString() + "/gateway"
	}
	return a.domain.IDString() + "/modules/" + strings.Join(modules, "/")
}

// Issue writes a new key and certificate for a process, in place of those that it had.
func (a *Authority) Issue(process string, modules []string) (Files, error) {
	if err := Check(process, modules); err != nil {
		return Files{}, err
	}
	uri, err := url.Parse(a.ID(modules...))
	if err != nil {
		return Files{}, fmt.Errorf("name the process %s: %w", process, err)
	}
	return a.IssueAs(process, &x509.Certificate{
		Subject: pkix.Name{CommonName: process}, URIs: []*url.URL{uri},
		NotBefore: a.now().Add(-skew), NotAfter: a.now().Add(Lifetime), BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
}

// IssueAs is Issue with any content; tests make bad certificates with it.
func (a *Authority) IssueAs(process string, template *x509.Certificate) (Files, error) {
	files := a.files(process)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Files{}, fmt.Errorf("make the key of %s: %w", process, err)
	}
	if _, err := a.sign(files, template, key); err != nil {
		return Files{}, fmt.Errorf("make the certificate of %s: %w", process, err)
	}
	return files, nil
}

func (a *Authority) sign(files Files, template *x509.Certificate, key *ecdsa.PrivateKey) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)) // RFC 5280 section 4.1.2.2: at most 20 octets
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	if err := replace(files.Key, 0o600, &pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}); err != nil {
		return nil, err
	}
	if err := replace(files.Cert, 0o644, &pem.Block{Type: "CERTIFICATE", Bytes: der}); err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// replace never leaves half a file to a process that reads it.
func replace(name string, mode fs.FileMode, block *pem.Block) error {
	temporary := name + ".new"
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err // of an earlier run that broke off, maybe with another mode
	}
	if err := os.WriteFile(temporary, pem.EncodeToMemory(block), mode); err != nil {
		return err
	}
	return os.Rename(temporary, name)
}
