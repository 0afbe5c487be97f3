package trust_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cleave/platform/trust"
	"cleave/platform/trust/authority"
)

// leaf is a good certificate for the ids.
func leaf(w *world, ids ...string) *x509.Certificate {
	c := &x509.Certificate{
		NotBefore: w.now().Add(-time.Hour), NotAfter: w.now().Add(time.Hour), BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, id := range ids {
		u, err := url.Parse(id)
		if err != nil {
			panic(err)
		}
		c.URIs = append(c.URIs, u)
	}
	return c
}

func TestLoad(t *testing.T) {
	t.Parallel()
	w := setup(t, "example.org")
	const order = "spiffe://example.org/modules/order"
	for name, c := range map[string]struct {
		bad  func(c *x509.Certificate)
		ids  []string
		want string
	}{
		"Good":             {ids: []string{order}},
		"NoURI":            {ids: nil, want: "no URI SAN"},
		"TwoURIs":          {ids: []string{order, "spiffe://example.org/modules/user"}, want: "more than one URI SAN"},
		"OtherScheme":      {ids: []string{"https://example.org/modules/order"}, want: "scheme"},
		"OtherPath":        {ids: []string{"spiffe://example.org/order"}, want: "spiffe://example.org/modules/NAME[/NAME...] nor spiffe://example.org/gateway"},
		"NoModule":         {ids: []string{"spiffe://example.org/modules"}, want: "neither"},
		"BelowTheGateway":  {ids: []string{"spiffe://example.org/gateway/order"}, want: "neither"},
		"EmptyModule":      {ids: []string{"spiffe://example.org/modules//order"}, want: "empty segment"},
		"ModuleTwice":      {ids: []string{"spiffe://example.org/modules/order/order"}, want: "names the module order twice"},
		"Expired":          {ids: []string{order}, bad: func(c *x509.Certificate) { c.NotAfter = w.now().Add(-time.Minute) }, want: "expired"},
		"NotYet":           {ids: []string{order}, bad: func(c *x509.Certificate) { c.NotBefore = w.now().Add(time.Minute) }, want: "not yet valid"},
		"AnAuthority":      {ids: []string{order}, bad: func(c *x509.Certificate) { c.IsCA = true }, want: "CA flag"},
		"MaySignOthers":    {ids: []string{order}, bad: func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCertSign }, want: "KeyCertSign"},
		"NoSignature":      {ids: []string{order}, bad: func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement }, want: "digitalSignature"},
		"OnlyServer":       {ids: []string{order}, bad: func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[:1] }, want: "clientAuth"},
		"OnlyClient":       {ids: []string{order}, bad: func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[1:] }, want: "serverAuth"},
		"NoExtendedUsages": {ids: []string{order}, bad: func(c *x509.Certificate) { c.ExtKeyUsage = nil }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			template := leaf(w, c.ids...)
			if c.bad != nil {
				c.bad(template)
			}
			files, err := w.IssueAs(name, template)
			require.NoError(t, err)
			_, err = trust.Load(files.Cert, files.Key, files.CA, slog.New(slog.DiscardHandler), w.now)
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.want)
			require.ErrorContains(t, err, files.Cert)
		})
	}
}

func TestLoad_Files(t *testing.T) {
	t.Parallel()
	w, other := setup(t, "example.org"), setup(t, "example.org")
	good, err := w.Issue("order", []string{"order"})
	require.NoError(t, err)
	theirs, err := other.Issue("order", []string{"order"})
	require.NoError(t, err)
	dir := t.TempDir()
	empty, none := filepath.Join(dir, "empty"), filepath.Join(dir, "none")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	for name, c := range map[string]struct {
		files authority.Files
		want  string
	}{
		"OtherKey":       {authority.Files{Cert: good.Cert, Key: theirs.Key, CA: good.CA}, theirs.Key},
		"OtherAuthority": {authority.Files{Cert: good.Cert, Key: good.Key, CA: theirs.CA}, "unknown authority"},
		"NoCertificate":  {authority.Files{Cert: none, Key: good.Key, CA: good.CA}, none},
		"NoAuthority":    {authority.Files{Cert: good.Cert, Key: good.Key, CA: none}, none},
		"EmptyAuthority": {authority.Files{Cert: good.Cert, Key: good.Key, CA: empty}, empty},
		"KeyAsAuthority": {authority.Files{Cert: good.Cert, Key: good.Key, CA: good.Key}, good.Key},
		"OtherCurve":     {curve(t), "P-256"},
	} {
		_, err := trust.Load(c.files.Cert, c.files.Key, c.files.CA, slog.New(slog.DiscardHandler), w.now)
		require.ErrorContains(t, err, c.want, name)
	}
}

// curve is a certificate on P-384 that is its own authority.
func curve(t *testing.T) authority.Files {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	template := leaf(&world{}, "spiffe://example.org/modules/order")
	template.SerialNumber = big.NewInt(1)
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	dir := t.TempDir()
	files := authority.Files{Cert: filepath.Join(dir, "crt"), Key: filepath.Join(dir, "key"), CA: filepath.Join(dir, "crt")}
	require.NoError(t, os.WriteFile(files.Cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(files.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600))
	return files
}

func TestLoad_RenewedForAnother(t *testing.T) {
	t.Parallel()
	w := setup(t, "example.org")
	server := w.process(t, "user", "user")
	user := serve(t, server, "user")
	order := w.process(t, "order", "order")
	before := serial(t, order, user.addr)
	_, err := w.Issue("user", []string{"user", "order"})
	require.NoError(t, err)
	w.pass(2 * time.Second)
	require.Equal(t, before, serial(t, order, user.addr))
	require.Contains(t, w.log.String(), "is for spiffe://example.org/modules/user/order, and this process is spiffe://example.org/modules/user")
}
