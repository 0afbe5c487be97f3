package journey_test

import (
	"database/sql"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite" // to write what a newer binary would have

	"cleave/platform/db/dbtest"
)

// refuses requires that a command ends within seconds with the exit code for
// wrong use, having said in one line what is wrong, and nothing else.
func (s *site) refuses(t testing.TB, says string, args ...string) outcome {
	t.Helper()
	o := s.do(t, args...)
	require.Equal(t, 2, o.code, o.err)
	require.Less(t, o.took, 10*time.Second, "seconds are long for whoever waits")
	require.Empty(t, o.out)
	require.Regexp(t, regexp.MustCompile(`^app: .*`+says), o.err)
	require.Equal(t, 1, strings.Count(o.err, "\n"), "more than one line: %s", o.err)
	return o
}

// TestRefusesToServe starts servers that cannot run.
func TestRefusesToServe(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = taken.Close() })
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	badFile := filepath.Join(t.TempDir(), "cleave.yaml")
	require.NoError(t, os.WriteFile(badFile, []byte("http:\n  adr: 127.0.0.1:1\n"), 0o600))
	for name, c := range map[string]struct {
		env  string
		args []string
		says string
	}{
		"PortInUse":       {"CLEAVE_HTTP_ADDR=" + taken.Addr().String(), nil, "http.addr .*address already in use"},
		"FolderIsFile":    {"CLEAVE_DATA_DIR=" + file, nil, "data.dir"},
		"FolderBelowFile": {"CLEAVE_DATA_DIR=" + filepath.Join(file, "data"), nil, "data.dir"},
		"UnknownVariable": {"CLEAVE_HTTP_ADRESS=:1", nil, "CLEAVE_HTTP_ADRESS is not a known key .*CLEAVE_HTTP_ADDR"},
		"UnknownKey":      {"", []string{"--config", badFile}, "http.adr is not a known key .*cleave.yaml:2.*http.addr"},
		"UnknownFlag":     {"", []string{"--adress", ":1"}, "unknown flag: --adress"},
		"BadValue":        {"CLEAVE_LOG_LEVEL=loud", nil, `log.level is "loud" .*CLEAVE_LOG_LEVEL.*debug, info, warn`},
		"NoFile":          {"", []string{"--config", file + ".yaml"}, "configuration file cannot be read"},
		"NoDSN":           {"CLEAVE_DB_DSN=mysql://localhost/cleave", nil, "db.dsn"},
		"NoBroker":        {"CLEAVE_EVENTS_PIPE=nats://embedded", nil, "events.pipe.*natsserver"},
		"UnknownBroker":   {"CLEAVE_EVENTS_PIPE=redis://localhost", nil, "events.pipe is \"redis://localhost\""},
		"Argument":        {"", []string{"now"}, `unknown command "now"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := sqliteSite(t)
			if c.env != "" {
				s.env = append(s.env, c.env)
			}
			s.refuses(t, c.says, append([]string{"serve"}, c.args...)...)
		})
	}
}

// TestRefusesDatabase starts servers whose Postgres is not as configured.
func TestRefusesDatabase(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and never answers
	require.NoError(t, err)
	t.Cleanup(func() { _ = silent.Close() })
	good := dbtest.Postgres(t)
	admin, err := pgx.ParseConfig(good.AdminDSN)
	require.NoError(t, err)
	address := func(user, password, host, database string) string {
		return fmt.Sprintf("postgres://%s:%s@%s/%s?sslmode=disable", user, password, host, database)
	}
	host := fmt.Sprintf("%s:%d", admin.Host, admin.Port)
	for name, c := range map[string]struct{ admin, says string }{
		"NobodyListens": {address("postgres", "hush-hush", "127.0.0.1:1", "cleave"), "cannot reach Postgres at 127.0.0.1:1 .*connection refused.*db.admin_dsn"},
		"NobodyAnswers": {address("postgres", "hush-hush", silent.Addr().String(), "cleave"), silent.Addr().String() + " did not answer .*db.admin_dsn"},
		"WrongPassword": {address(admin.User, "hush-hush", host, admin.Database), `refuses role "` + admin.User + `" .*db.admin_dsn`},
		"NoSuchUser":    {address("nobody", "hush-hush", host, admin.Database), `refuses role "nobody" .*db.admin_dsn`},
		"NoDatabase":    {address(admin.User, admin.Password, host, "nothing_here"), `database "nothing_here" does not exist .*db.admin_dsn`},
		"NoSuchHost":    {address("postgres", "hush-hush", "postgres.invalid:5432", "cleave"), `no such host "postgres.invalid".*db.admin_dsn`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := sqliteSite(t, "CLEAVE_DB_ADMIN_DSN="+c.admin)
			require.NotContains(t, s.refuses(t, c.says, "serve").err, "hush-hush", "the password is shown")
		})
	}
	t.Run("NotSetUp", func(t *testing.T) {
		t.Parallel()
		s := sqliteSite(t, "CLEAVE_DB_DSN="+good.DSN, "CLEAVE_DB_ROLE_SECRET="+good.RoleSecret, "CLEAVE_DB_MIGRATE_ON_START=false")
		s.refuses(t, "run the set-up with the same db.role_secret", "serve")
	})
}

// TestRefusesNewerSchema finds a database that a newer binary has migrated.
func TestRefusesNewerSchema(t *testing.T) {
	eachSite(t, func(t *testing.T, s *site) {
		require.Zero(t, s.do(t, "migrate", "up").code)
		const newer = "INSERT INTO %s (version_id, is_applied) VALUES (99, %s)"
		if s.db.AdminDSN == "" {
			d, err := sql.Open("sqlite", filepath.Join(s.dir, "order.db"))
			require.NoError(t, err)
			_, err = d.ExecContext(t.Context(), fmt.Sprintf(newer, "module_versions", "1"))
			require.NoError(t, err)
			require.NoError(t, d.Close())
		} else {
			conn, err := pgx.Connect(t.Context(), s.db.AdminDSN)
			require.NoError(t, err)
			_, err = conn.Exec(t.Context(), fmt.Sprintf(newer, `"order".module_versions`, "true"))
			require.NoError(t, err)
			require.NoError(t, conn.Close(t.Context()))
		}
		const says = "the database of order is newer than this binary.*version 99"
		s.refuses(t, says, "serve")
		s.refuses(t, says, "serve", "--set", "db.migrate_on_start=false")
		s.refuses(t, says, "migrate", "up", "--module", "order")
		s.refuses(t, says, "migrate", "down", "--module", "order")
	})
}
