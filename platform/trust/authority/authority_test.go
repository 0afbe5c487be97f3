package authority

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cleave/platform/trust"
)

func TestAuthority(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "certs")
	a, err := Open(dir, "example.org", time.Now)
	require.NoError(t, err)
	files, err := a.Issue("rest", []string{"user", "notification"})
	require.NoError(t, err)
	for _, key := range []string{files.Key, filepath.Join(dir, "ca.key")} {
		info, err := os.Stat(key)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), key)
	}
	id, err := trust.Load(files.Cert, files.Key, files.CA, slog.New(slog.DiscardHandler), time.Now)
	require.NoError(t, err)
	require.Equal(t, "spiffe://example.org/modules/user/notification", id.ID())
	require.Equal(t, a.ID("user", "notification"), id.ID())
	gateway, err := a.Issue("gateway", nil)
	require.NoError(t, err)
	id, err = trust.Load(gateway.Cert, gateway.Key, gateway.CA, slog.New(slog.DiscardHandler), time.Now)
	require.NoError(t, err)
	require.Equal(t, a.ID(), id.ID())
	require.True(t, id.Gateway())

	before := read(t, files)
	ca, err := os.ReadFile(files.CA)
	require.NoError(t, err)
	a, err = Open(dir, "example.org", time.Now)
	require.NoError(t, err)
	_, err = a.Issue("rest", []string{"user", "notification"})
	require.NoError(t, err)
	require.NotEqual(t, before, read(t, files), "renewed")
	same, err := os.ReadFile(files.CA)
	require.NoError(t, err)
	require.Equal(t, ca, same)
	_, err = trust.Load(files.Cert, files.Key, files.CA, slog.New(slog.DiscardHandler), time.Now)
	require.NoError(t, err)
}

func read(t *testing.T, files Files) string {
	t.Helper()
	cert, err := os.ReadFile(files.Cert)
	require.NoError(t, err)
	key, err := os.ReadFile(files.Key)
	require.NoError(t, err)
	return string(cert) + string(key)
}

func TestOpen_Refuses(t *testing.T) {
	t.Parallel()
	late := func() time.Time { return time.Now().Add(authorityLifetime - Lifetime/2) }
	for name, c := range map[string]struct {
		domain string
		now    func() time.Time
		spoil  func(dir string) error
		want   string
	}{
		"DomainSyntax": {domain: "Example Org", now: time.Now, want: `trust domain "Example Org"`},
		"DomainAsURI":  {domain: "spiffe://example.org/x", now: time.Now, want: "trust domain"},
		"NoDomain":     {domain: "", now: time.Now, want: "trust domain"},
		"OtherDomain":  {domain: "example.net", now: time.Now, want: "is not of the trust domain example.net"},
		"Expiring":     {domain: "example.org", now: late, want: "expires on"},
		"NoKey":        {domain: "example.org", now: time.Now, spoil: func(dir string) error { return os.Remove(filepath.Join(dir, "ca.key")) }, want: "ca.key"},
		"NoCert":       {domain: "example.org", now: time.Now, spoil: func(dir string) error { return os.Remove(filepath.Join(dir, "ca.crt")) }, want: "ca.crt"},
		"OtherKey": {domain: "example.org", now: time.Now, spoil: func(dir string) error {
			return os.Rename(filepath.Join(dir, "order.key"), filepath.Join(dir, "ca.key"))
		}, want: "is not the key of"},
		"NotPEM": {domain: "example.org", now: time.Now, spoil: func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "ca.crt"), []byte("x"), 0o600)
		}, want: "no certificate in it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			a, err := Open(dir, "example.org", time.Now)
			require.NoError(t, err)
			_, err = a.Issue("order", []string{"order"})
			require.NoError(t, err)
			if c.spoil != nil {
				require.NoError(t, c.spoil(dir))
			}
			_, err = Open(dir, c.domain, c.now)
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	require.NoError(t, Check("order-2", []string{"order", "user"}))
	require.NoError(t, Check("gateway", nil))
	for _, process := range []string{"", "ca", "Order", "../x", "a/b", "2", "-x", "a b"} {
		require.ErrorContains(t, Check(process, nil), "process name", process)
	}
	for _, module := range []string{"", "Order", "a/b", "..", "order ", "a-b"} {
		require.ErrorContains(t, Check("order", []string{module}), "module name", module)
	}
	require.ErrorContains(t, Check("order", []string{"a", "b", "a"}), "the module a twice")
}
