package security_test

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"cleave/platform/auth"
	"cleave/platform/config"
	"cleave/platform/db/dbtest"
	"cleave/platform/module"
	"cleave/platform/moduletest"
	"cleave/platform/nettest"
)

const outsideAudience = "https://api.shop.example"

// foreign are tokens of provider.mjs.
type foreign struct{ Person, IDToken, Robot, Elsewhere, Opaque, OtherAlgorithm string }

// foreignProvider starts oidc-provider at an address. Next returns tokens; those after the first are signed by other keys.
func foreignProvider(t *testing.T, address string) (next func() foreign) {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	cmd := exec.Command("node", "provider.mjs", port, outsideAudience) //nolint:noctx // it ends with its input
	cmd.Dir = "node"
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	within := func(d time.Duration) (stop func() bool) {
		return time.AfterFunc(d, func() { _ = cmd.Process.Kill() }).Stop
	}
	t.Cleanup(func() {
		defer within(10 * time.Second)()
		_ = in.Close()
		_ = cmd.Wait()
	})
	lines, first := bufio.NewScanner(out), true
	lines.Buffer(nil, 1<<20)
	return func() (v foreign) {
		defer within(time.Minute)()
		if !first {
			_, err := io.WriteString(in, "\n")
			require.NoError(t, err)
		}
		first = false
		for lines.Scan() {
			if line := lines.Bytes(); bytes.HasPrefix(line, []byte("{")) { // the rest is for people
				require.NoError(t, json.Unmarshal(line, &v))
				return v
			}
		}
		require.FailNow(t, "the provider has ended, or said nothing for a minute", "%v: %s", cmd.Wait(), &stderr)
		return v
	}
}

// TestOutsideIssuer has every module accept tokens of a provider that is not ours, which starts later than we do and changes its keys.
func TestOutsideIssuer(t *testing.T) {
	t.Parallel()
	if !npm(t) {
		return
	}
	moduletest.Each(t, specs, func(t *testing.T, cfg *config.Config) {
		t.Parallel()
		cfg.HTTP.RequestTimeout = time.Minute
		address := nettest.FreeAddress(t)
		issuer := "http://" + address
		cfg.Auth.Issuers = []config.Issuer{{
			Issuer: issuer, Audience: outsideAudience, Type: "at+jwt", RolesClaim: "realm_access.roles",
			Roles: []config.IssuerRole{{Value: "person", Role: "customer"}, {Value: "robot", Role: "service", Scopes: []string{"order:list"}}},
		}}
		s := start(t, cfg)
		me := s.customer(t)
		next := foreignProvider(t, address)
		got := next()
		status := func(path, token string) int { return s.call(t, http.MethodGet, path, token, nil).status }
		becomes := func(want int, path, token string) {
			t.Helper()
			require.Eventually(t, func() bool { return status(path, token) == want }, time.Minute, 100*time.Millisecond)
		}
		accepted(t, []*site{s}, me)
		becomes(http.StatusOK, "/api/v1/orders", got.Person)

		require.Equal(t, http.StatusOK, status("/api/v1/notifications", got.Person))
		require.Equal(t, "account_missing", s.call(t, http.MethodGet, "/api/v1/me", got.Person, nil).code())
		r := s.call(t, http.MethodPost, "/api/v1/me/password", got.Person, map[string]any{"current_password": password, "new_password": "another horse"})
		require.Equal(t, http.StatusForbidden, r.status, "%s", r.body)
		require.Equal(t, http.StatusNotFound, status("/api/v1/users/"+auth.SubjectOf(issuer, "ada"), got.Person))
		require.Equal(t, http.StatusForbidden, status("/api/v1/users/"+me.id, got.Person))
		require.Equal(t, http.StatusForbidden, status("/api/v1/users", got.Person))
		require.Equal(t, http.StatusNoContent, s.call(t, http.MethodDelete, "/api/v1/sessions/current", got.Person, nil).status)
		require.Equal(t, http.StatusOK, status("/api/v1/orders", got.Person), "its session is its issuer's to end")

		require.Equal(t, http.StatusOK, status("/api/v1/orders", got.Robot))
		require.Equal(t, http.StatusForbidden, status("/api/v1/products", got.Robot), "its scopes do not say so")
		for name, token := range map[string]string{
			"IDToken": got.IDToken, "Elsewhere": got.Elsewhere, "Opaque": got.Opaque, "OtherAlgorithm": got.OtherAlgorithm,
		} {
			for _, path := range paths {
				r := s.call(t, http.MethodGet, path, token, nil)
				require.Equal(t, http.StatusUnauthorized, r.status, name)
				require.Equal(t, "token_invalid", r.code())
			}
		}
		renewed := next()
		becomes(http.StatusOK, "/api/v1/orders", renewed.Person)
		require.Equal(t, http.StatusUnauthorized, status("/api/v1/orders", got.Person), "its key is withdrawn")
		accepted(t, []*site{s}, me)
	})
}

// TestKubernetesServiceAccount has an API server as clusters have it: a private authority, keys at an address of their own, and only
// for those who show a token.
func TestKubernetesServiceAccount(t *testing.T) {
	t.Parallel()
	moduletest.Each(t, specs, func(t *testing.T, cfg *config.Config) {
		t.Parallel()
		const issuer, robot = "https://kubernetes.default.svc.cluster.local", "system:serviceaccount:shop:warehouse"
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		require.NoError(t, err)
		server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer pod" {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: "c1", Algorithm: "RS256", Use: "sig"}}})
		}))
		t.Cleanup(server.Close)
		dir := t.TempDir()
		file := func(name string, text []byte) string {
			path := filepath.Join(dir, name)
			require.NoError(t, os.WriteFile(path, text, 0o600))
			return path
		}
		cfg.Auth.Issuers = []config.Issuer{{
			Issuer: issuer, Audience: "cleave", JWKSURL: server.URL + "/openid/v1/jwks", RolesClaim: "sub",
			CAFile:    file("ca.crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})),
			TokenFile: file("token", []byte("pod")),
			Roles:     []config.IssuerRole{{Value: robot, Role: "service", Scopes: []string{"order:list"}}},
		}}
		s := start(t, cfg)
		token := func(subject, audience string) string {
			tok := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{
				"iss": issuer, "aud": []string{audience}, "sub": subject, "iat": time.Now().Unix(), "nbf": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
				"kubernetes.io": map[string]any{"namespace": "shop", "serviceaccount": map[string]any{"name": "warehouse", "uid": "1"}},
			})
			delete(tok.Header, "typ")
			tok.Header["kid"] = "c1"
			text, err := tok.SignedString(key)
			require.NoError(t, err)
			return text
		}
		require.Equal(t, http.StatusOK, s.call(t, http.MethodGet, "/api/v1/orders", token(robot, "cleave"), nil).status)
		require.Equal(t, http.StatusForbidden, s.call(t, http.MethodGet, "/api/v1/products", token(robot, "cleave"), nil).status)
		require.Equal(t, http.StatusForbidden, s.call(t, http.MethodGet, "/api/v1/orders", token("system:serviceaccount:shop:other", "cleave"), nil).status)
		require.Equal(t, http.StatusUnauthorized, s.call(t, http.MethodGet, "/api/v1/orders", token(robot, "https://kubernetes.default.svc"), nil).status)
	})
}

// TestOutsideIssuerAway has an issuer that nobody can reach: the process starts, serves its own users, and promises the others nothing.
func TestOutsideIssuerAway(t *testing.T) {
	t.Parallel()
	cfg := moduletest.Config(t, dbtest.SQLite(t), specs...)
	cfg.HTTP.RequestTimeout = time.Minute
	issuer := "http://" + nettest.FreeAddress(t)
	cfg.Auth.Issuers = []config.Issuer{{Issuer: issuer, Audience: "cleave", DefaultRole: "customer"}}
	s := start(t, cfg)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	tok := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{"iss": issuer, "aud": "cleave", "sub": "ada", "exp": time.Now().Add(time.Hour).Unix()})
	tok.Header["kid"] = "k1"
	token, err := tok.SignedString(key)
	require.NoError(t, err)
	for _, path := range paths {
		r := s.call(t, http.MethodGet, path, token, nil)
		require.Equal(t, http.StatusServiceUnavailable, r.status, "%s", r.body)
		require.Equal(t, "keys_unavailable", r.code())
		require.NotContains(t, string(r.body), "127.0.0.1", "what is where is nobody's business")
	}
	accepted(t, []*site{s}, s.customer(t))
}

// TestOutsideIssuerRefused starts with issuers that would only show in requests that fail.
func TestOutsideIssuerRefused(t *testing.T) {
	t.Parallel()
	good := config.Issuer{Issuer: "https://a.example", Audience: "x"}
	for want, edit := range map[string]func(i *config.Issuer){
		"own issuer":               func(i *config.Issuer) { i.Issuer = config.Default().Auth.Issuer },
		`knows the role "custmer"`: func(i *config.Issuer) { i.DefaultRole = "custmer" },
		"needs scopes":             func(i *config.Issuer) { i.DefaultRole = "service" },
	} {
		cfg := config.Default()
		i := good
		edit(&i)
		cfg.Auth.Issuers = []config.Issuer{i}
		_, err := module.NewHost(cfg, module.Options{}, specs...)
		require.ErrorContains(t, err, want)
		require.True(t, strings.HasPrefix(err.Error(), "auth.issuers: "), err)
	}
}
