package discovery

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/require"
)

const (
	documentPath = "/.well-known/openid-configuration"
	keysPath     = "/keys"
)

// issuer is a server whose answers a test writes.
type issuer struct {
	url, ca  string
	document func(url string) string
	keys     string
	token    string // that it asks for
	asked    chan string
}

func setup(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{asked: make(chan string, 100), keys: keySet(t, map[string]any{"kid": "k1", "use": "sig"})}
	i.document = func(url string) string { return fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q}`, url, url+keysPath) }
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.asked <- r.URL.Path
		w.Header().Set("Content-Type", "application/json")
		switch {
		case i.token != "" && r.Header.Get("Authorization") != "Bearer "+i.token:
			http.Error(w, strings.Repeat("no ", 1000), http.StatusUnauthorized)
		case r.URL.Path == documentPath:
			_, _ = io.WriteString(w, i.document(i.url))
		case r.URL.Path == keysPath:
			_, _ = io.WriteString(w, i.keys)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(s.Close)
	i.url, i.ca = s.URL, filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(i.ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600))
	return i
}

func (i *issuer) source() Source { return Source{Issuer: i.url, CAFile: i.ca} }

// keySet is a set of keys with these members, beside those of a new key.
func keySet(t *testing.T, members ...map[string]any) string {
	t.Helper()
	list := []any{}
	for _, m := range members {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		text, err := json.Marshal(jose.JSONWebKey{Key: &key.PublicKey})
		require.NoError(t, err)
		jwk := map[string]any{}
		require.NoError(t, json.Unmarshal(text, &jwk))
		for k, v := range m {
			jwk[k] = v
		}
		list = append(list, jwk)
	}
	text, err := json.Marshal(map[string]any{"keys": list})
	require.NoError(t, err)
	return string(text)
}

func TestKeys(t *testing.T) {
	t.Parallel()

	t.Run("Discovered", func(t *testing.T) {
		t.Parallel()
		i := setup(t)
		i.keys = keySet(t, map[string]any{"kid": "k1", "use": "sig", "alg": "ES256"}, map[string]any{"kid": "k2"}, map[string]any{"kid": "e", "use": "enc"},
			map[string]any{"kid": "new", "kty": "AKP"}, map[string]any{"kid": "s", "kty": "oct", "k": "c2VjcmV0"}, map[string]any{"kid": "d", "d": "AAAA"})
		keys, err := i.source().Keys(t.Context())
		require.NoError(t, err)
		require.Len(t, keys, 2)
		require.Equal(t, "ES256", keys["k1"].Algorithm)
		require.IsType(t, &ecdsa.PublicKey{}, keys["k2"].Key)
	})
	t.Run("Named", func(t *testing.T) {
		t.Parallel()
		i := setup(t)
		s := i.source()
		s.Issuer, s.JWKS = "https://kubernetes.default.svc.cluster.local", i.url+keysPath
		i.token, s.TokenFile = "pod", filepath.Join(t.TempDir(), "token")
		require.NoError(t, os.WriteFile(s.TokenFile, []byte("pod\n"), 0o600))
		keys, err := s.Keys(t.Context())
		require.NoError(t, err)
		require.Len(t, keys, 1)
		require.Equal(t, keysPath, <-i.asked)

		require.NoError(t, os.WriteFile(s.TokenFile, []byte("old"), 0o600))
		_, err = s.Keys(t.Context())
		require.ErrorContains(t, err, "401")
	})
}

func TestKeysRefused(t *testing.T) {
	t.Parallel()
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("an address inside was reached") }))
	t.Cleanup(inside.Close)
	pointsTo := func(to string) func(*issuer, *Source) {
		return func(i *issuer, _ *Source) {
			i.document = func(url string) string { return fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q}`, url, to) }
		}
	}
	keys := func(text string) func(*issuer, *Source) { return func(i *issuer, _ *Source) { i.keys = text } }
	many := make([]map[string]any, maxKeys+1)
	for name, tc := range map[string]struct {
		edit func(i *issuer, s *Source)
		want string
	}{
		"AddressInside":  {pointsTo(strings.Replace(inside.URL, "http", "https", 1) + "/keys"), "not a permitted"},
		"PrivateAddress": {pointsTo("https://10.0.0.1/keys"), "not a permitted"},
		"Metadata":       {pointsTo("https://169.254.169.254/latest/meta-data"), "not a permitted"},
		"NameInside":     {pointsTo("https://localhost/keys"), "not a permitted"},
		"PlainHTTP":      {pointsTo(inside.URL), "not https"},
		"NoAddress":      {pointsTo(""), "no jwks_uri"},
		"File":           {pointsTo("file:///etc/passwd"), "no jwks_uri"},
		"Credentials":    {pointsTo("https://user:pw@keys.example/keys"), "no jwks_uri"},
		"OtherIssuer": {func(i *issuer, _ *Source) {
			i.document = func(url string) string {
				return fmt.Sprintf(`{"issuer":"https://other.example","jwks_uri":%q}`, url+keysPath)
			}
		}, "issuer"},
		"DocumentTooLarge": {func(i *issuer, _ *Source) { i.document = func(string) string { return strings.Repeat(" ", maxBody+1) } }, "too large"},
		"DocumentNotJSON":  {func(i *issuer, _ *Source) { i.document = func(string) string { return strings.Repeat("<html>", 100) } }, "decode"},
		"KeysTooLarge":     {keys(`{"keys":[` + strings.Repeat(" ", maxBody) + `]}`), "too large"},
		"KeysNotJSON":      {keys("<html>"), "read the key set"},
		"TooManyKeys":      {keys(keySet(t, many...)), "101 keys"},
		"NoKeys":           {keys(`{"keys":[]}`), "no key to verify with"},
		"SymmetricKey":     {keys(`{"keys":[{"kty":"oct","kid":"k1","k":"c2VjcmV0"}]}`), "no key to verify with"},
		"Unauthorised":     {func(i *issuer, _ *Source) { i.token = "t" }, "401"},
		"UnknownAuthority": {func(_ *issuer, s *Source) { s.CAFile = "" }, "certificate"},
		"NoTokenFile":      {func(_ *issuer, s *Source) { s.TokenFile = "nowhere" }, "read the token"},
		"Down":             {func(_ *issuer, s *Source) { s.Issuer = "https://127.0.0.1:1" }, "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := setup(t)
			s := i.source()
			tc.edit(i, &s)
			keys, err := s.Keys(t.Context())
			require.ErrorContains(t, err, tc.want)
			require.Less(t, len(err.Error()), 2*maxError)
			require.Nil(t, keys)
		})
	}
}

func FuzzKeySet(f *testing.F) {
	f.Add(`{"keys":[{"kty":"EC","crv":"P-256","kid":"k1","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}`)
	f.Add(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"},{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`)
	f.Add(`{"keys":[{"kty":"oct","k":"c2VjcmV0"},null,7,{}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		keys, err := parse([]byte(text))
		require.Equal(t, err == nil, len(keys) > 0)
		for _, k := range keys {
			require.True(t, (&jose.JSONWebKey{Key: k.Key}).IsPublic(), "%T", k.Key)
		}
	})
}

func TestKeys_SlowIssuer(t *testing.T) {
	t.Parallel()
	i := setup(t)
	release := make(chan struct{})
	i.document = func(string) string { <-release; return "" }
	t.Cleanup(func() { close(release) })
	begun := time.Now()
	_, err := i.source().Keys(t.Context())
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Less(t, time.Since(begun), time.Minute)
}
