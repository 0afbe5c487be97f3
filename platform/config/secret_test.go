package config_test

import (
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"cleave/platform/config"
)

func TestSecretReferences(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "password")
	require.NoError(t, os.WriteFile(file, []byte("s3cret-of-a-file\n"), 0o600))
	empty := filepath.Join(dir, "empty")
	require.NoError(t, os.WriteFile(empty, []byte("\n"), 0o600))
	load := func(env ...string) (*config.Config, *mailer, error) {
		m := &mailer{}
		m.Every = 60e9
		c, err := config.Load(config.Options{
			Env: env, Sections: map[string]any{"user": nil, "mailer": m},
			Secrets: map[string]config.SecretReader{"vault": func(u *url.URL) (string, error) {
				if u.Fragment == "denied" {
					return "", errors.New("access is denied")
				}
				return "postgres://app:" + u.Fragment + "@db.example/cleave", nil
			}},
		})
		return c, m, err
	}

	t.Run("OfAFile", func(t *testing.T) {
		t.Parallel()
		_, m, err := load("CLEAVE_MODULES_MAILER_SMTP_PASSWORD=file://" + file)
		require.NoError(t, err)
		require.Equal(t, "s3cret-of-a-file", m.SMTP.Password)
	})
	t.Run("OfAStore", func(t *testing.T) {
		t.Parallel()
		c, _, err := load("CLEAVE_DB_DSN=vault://secret/data/cleave#dsn", "CLEAVE_DB_MODULES_USER=vault://secret/data/cleave#user")
		require.NoError(t, err)
		require.Equal(t, "postgres://app:dsn@db.example/cleave", c.DB.DSN)
		require.Equal(t, "postgres://app:user@db.example/cleave", c.DB.Modules["user"])
		for _, row := range config.Describe(c) {
			require.NotContains(t, row.Value, ":dsn@", row.Key)
			require.NotContains(t, row.Value, ":user@", row.Key)
		}
	})
	t.Run("OnlyWhereASecretBelongs", func(t *testing.T) {
		t.Parallel()
		c, _, err := load("CLEAVE_DATA_DIR=file://" + file)
		require.NoError(t, err)
		require.Equal(t, "file://"+file, c.Data.Dir)
	})
	for name, tt := range map[string]struct{ env, says string }{
		"NoFile":    {"CLEAVE_DB_ROLE_SECRET=file://" + file + ".none", "db.role_secret: read file://" + file + ".none: no such file or directory (env CLEAVE_DB_ROLE_SECRET)"},
		"EmptyFile": {"CLEAVE_DB_ROLE_SECRET=file://" + empty, "is empty"},
		"Relative":  {"CLEAVE_DB_ROLE_SECRET=file://password", "the form is file:///path"},
		"Folder":    {"CLEAVE_DB_ROLE_SECRET=file://" + dir, "is a directory"},
		"Denied":    {"CLEAVE_DB_ROLE_SECRET=vault://secret/data/cleave#denied", "access is denied"},
		"TooShort":  {"CLEAVE_MODULES_MAILER_SMTP_PASSWORD=file://" + shortSecret(t, dir), `modules.mailer.smtp.password is "***"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, err := load(tt.env)
			require.ErrorContains(t, err, tt.says)
		})
	}
}

func shortSecret(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "short")
	require.NoError(t, os.WriteFile(path, []byte("short"), 0o600))
	return path
}
