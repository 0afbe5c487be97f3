package journey_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Whoever guesses the password of one account is held up, also when the guesses
// come with an account's real one in the end.
func TestGuessingIsLimited(t *testing.T) {
	t.Parallel()
	w := sqliteSite(t, "CLEAVE_LIMITS_ENABLED=true").serve(t)
	guess := func(password string) *http.Response {
		body := []byte(`{"email":"victim@example.com","password":"` + password + `"}`)
		res, err := http.Post(w.url+"/api/v1/sessions", "application/json", bytes.NewReader(body))
		require.NoError(t, err)
		_ = res.Body.Close()
		return res
	}
	for range 10 {
		require.Equal(t, http.StatusUnauthorized, guess("wrong horse battery staple").StatusCode)
	}
	res := guess("correct horse battery staple")
	require.Equal(t, http.StatusTooManyRequests, res.StatusCode)
	require.NotEmpty(t, res.Header.Get("Retry-After"))
	require.Contains(t, res.Header.Values("RateLimit-Policy"), `"login-identity";q=10;w=60`)
}

// certificate writes a self-signed certificate for localhost and its key.
func certificate(t testing.TB) (cert, key string, trust *x509.CertPool) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	require.NoError(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(k)
	require.NoError(t, err)
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	require.NoError(t, os.WriteFile(cert, text, 0o600))
	require.NoError(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600))
	trust = x509.NewCertPool()
	require.True(t, trust.AppendCertsFromPEM(text))
	return cert, key, trust
}

func TestTLS(t *testing.T) {
	t.Parallel()
	cert, key, trust := certificate(t)
	s := sqliteSite(t, "CLEAVE_HTTP_TLS_CERT="+cert, "CLEAVE_HTTP_TLS_KEY="+key)
	p := s.serve(t)
	require.Regexp(t, "^https://127.0.0.1:", p.url)
	transport := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: trust, ServerName: "localhost"}, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	res, err := (&http.Client{Transport: transport}).Get(p.url + "/readyz")
	require.NoError(t, err)
	_ = res.Body.Close()
	require.Equal(t, http.StatusOK, res.StatusCode)
	require.Equal(t, "HTTP/2.0", res.Proto)
	require.NotEmpty(t, res.Header.Get("Strict-Transport-Security"))
	s.env = append(s.env, "CLEAVE_HTTP_ADDR="+p.url[len("https://"):])
	require.Zero(t, s.do(t, "healthcheck").code)

	other, _, _ := certificate(t)
	s.env = append(s.env, "CLEAVE_HTTP_ADDR=127.0.0.1:0", "CLEAVE_HTTP_TLS_CERT="+other, "CLEAVE_DATA_DIR="+filepath.Join(t.TempDir(), "data"))
	s.refuses(t, "http.tls_cert.*private key does not match", "serve")
}
