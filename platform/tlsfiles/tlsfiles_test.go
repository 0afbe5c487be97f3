package tlsfiles

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// issue returns a new self-signed certificate for name, and its key, as PEM.
func issue(t testing.TB, name string) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	require.NoError(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(k)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

type fixture struct {
	cert, key string
	log       bytes.Buffer
	clock     atomic.Int64 // seconds that have passed
	files     *Files
	addr      string
}

// put replaces the files, with a later time of writing each time.
func (f *fixture) put(t testing.TB, cert, key []byte) {
	t.Helper()
	at := time.Now().Add(time.Duration(f.clock.Add(10)) * time.Second)
	for name, text := range map[string][]byte{f.cert: cert, f.key: key} {
		require.NoError(t, os.WriteFile(name, text, 0o600))
		require.NoError(t, os.Chtimes(name, at, at))
	}
}

func setup(t testing.TB) *fixture {
	t.Helper()
	dir := t.TempDir()
	f := &fixture{cert: filepath.Join(dir, "tls.crt"), key: filepath.Join(dir, "tls.key")}
	cert, key := issue(t, "first.example")
	f.put(t, cert, key)
	start := time.Now()
	var err error
	f.files, err = Load(f.cert, f.key, slog.New(slog.NewTextHandler(&f.log, nil)), func() time.Time { return start.Add(time.Duration(f.clock.Load()) * time.Second) })
	require.NoError(t, err)
	l, err := tls.Listen("tcp", "127.0.0.1:0", f.files.Server())
	require.NoError(t, err)
	f.addr = l.Addr().String()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.(*tls.Conn).Handshake() // what a client sees of a failure is what the tests ask
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return f
}

// served is the name in the certificate that a new connection gets.
func (f *fixture) served(t testing.TB) string {
	t.Helper()
	conn, err := tls.Dial("tcp", f.addr, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // the test looks at the certificate itself
	require.NoError(t, err)
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].DNSNames[0]
}

func TestFiles(t *testing.T) {
	t.Parallel()
	t.Run("RenewedWithoutRestart", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		require.Equal(t, "first.example", f.served(t))
		cert, key := issue(t, "second.example")
		f.put(t, cert, key)
		require.Equal(t, "second.example", f.served(t))
		require.Contains(t, f.log.String(), "new TLS certificate")
	})
	t.Run("HalfRenewedKeepsTheLast", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		_, first := issue(t, "x.example")
		cert, key := issue(t, "second.example")
		f.put(t, cert, first)
		require.Equal(t, "first.example", f.served(t))
		require.Contains(t, f.log.String(), "cannot be used")
		f.put(t, cert, key)
		require.Equal(t, "second.example", f.served(t))
	})
	t.Run("GoneKeepsTheLast", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		require.NoError(t, os.Remove(f.key))
		f.clock.Add(10)
		require.Equal(t, "first.example", f.served(t))
	})
	t.Run("OldProtocolRefused", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		raw, err := net.Dial("tcp", f.addr)
		require.NoError(t, err)
		conn := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}) //nolint:gosec // it must be refused
		require.Error(t, conn.Handshake())
		_ = raw.Close()
	})
}

func TestLoad_Refuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := issue(t, "a.example")
	_, other := issue(t, "b.example")
	write := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, text, 0o600))
		return path
	}
	good, mine, theirs, garbage := write("crt", cert), write("key", key), write("other", other), write("garbage", []byte("x"))
	for name, pair := range map[string][2]string{
		"NoFile": {filepath.Join(dir, "none"), mine}, "OtherKey": {good, theirs}, "NotPEM": {garbage, mine},
	} {
		_, err := Load(pair[0], pair[1], slog.New(slog.DiscardHandler), time.Now)
		require.ErrorContains(t, err, dir, name)
	}
}
