// Package moduletest starts real modules for tests: a host on a free port, on a
// real database, with hand-written stand-ins for the modules that are not
// under test.
package moduletest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cleave/platform/auth"
	"cleave/platform/config"
	"cleave/platform/db"
	"cleave/platform/db/dbtest"
	"cleave/platform/module"
)

// Config returns a configuration for tests on the given database: a free port,
// a folder of the test's own, fast polling.
func Config(t testing.TB, c db.Config, specs ...module.Spec) *config.Config {
	t.Helper()
	cfg := config.Default()
	cfg.HTTP.Addr = "127.0.0.1:0"
	cfg.Limits.Enabled = false // all of a test's users share one address, and are faster than people
	cfg.Data.Dir = c.Dir
	if cfg.Data.Dir == "" {
		cfg.Data.Dir = t.TempDir()
	}
	cfg.DB.DSN, cfg.DB.AdminDSN, cfg.DB.RoleSecret, cfg.DB.MaxConns = c.DSN, c.AdminDSN, c.RoleSecret, c.MaxConns
	cfg.Events.Poll, cfg.Sagas.Poll = 50*time.Millisecond, 50*time.Millisecond
	for _, s := range specs {
		if s.Config != nil {
			cfg.Modules[s.Name] = s.Config()
		}
	}
	return cfg
}

// Each runs fn once on SQLite and once on Postgres, as subtests, with a
// configuration that Start takes.
func Each(t *testing.T, specs []module.Spec, fn func(t *testing.T, cfg *config.Config)) {
	t.Helper()
	dbtest.Each(t, func(t *testing.T, c db.Config) { fn(t, Config(t, c, specs...)) })
}

// Start runs the modules until the test ends, with every response checked
// against its OpenAPI document. It fails the test when they do not start or do
// not stop cleanly. CLEAVE_TEST_LOG=1 shows the log.
func Start(t testing.TB, cfg *config.Config, specs ...module.Spec) *module.Host {
	t.Helper()
	return start(t, cfg, module.Faults{}, specs...)
}

func start(t testing.TB, cfg *config.Config, faults module.Faults, specs ...module.Spec) *module.Host {
	t.Helper()
	o := module.Options{Version: "test", Exact: true, Faults: faults}
	if os.Getenv("CLEAVE_TEST_LOG") != "" {
		o.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	h, err := module.NewHost(cfg, o, specs...)
	require.NoError(t, err)
	require.NoError(t, h.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, h.Stop(context.Background())) })
	return h
}

// Issuer signs tokens for tests in which the user module does not run. It is
// the auth.KeySource of the stand-in that takes its place.
type Issuer struct {
	key    *ecdsa.PrivateKey
	signer *auth.Signer
}

const keyID = "test"

// NewIssuer returns an issuer whose tokens the given modules accept under the
// configuration's issuer.
func NewIssuer(t testing.TB, cfg *config.Config, audience ...string) *Issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	signing := func() auth.SigningKey { return auth.SigningKey{ID: keyID, Private: key} }
	return &Issuer{key: key, signer: auth.NewSigner(signing, cfg.Auth.Issuer, audience, cfg.Auth.AccessTTL, time.Now)}
}

// PublicKeys implements auth.KeySource.
func (i *Issuer) PublicKeys(context.Context) (map[string]*ecdsa.PublicKey, error) {
	return map[string]*ecdsa.PublicKey{keyID: &i.key.PublicKey}, nil
}

// Token returns an access token for a user with the given roles.
func (i *Issuer) Token(t testing.TB, subject string, roles ...string) string {
	t.Helper()
	token, _, err := i.signer.Sign(auth.Principal{Subject: subject, Session: "session-of-" + subject, Roles: roles})
	require.NoError(t, err)
	return token
}
