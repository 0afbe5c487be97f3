package journey_test

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"

	"cleave/platform/nettest"
)

// TestMigrate goes up, down and up again.
func TestMigrate(t *testing.T) {
	type row struct{ Module, Set, Name, State string }
	states := func(rows []row) (out []string) {
		for _, r := range rows {
			state, _, _ := strings.Cut(r.State, " in ") // how long it took
			out = append(out, r.Module+" "+r.Set+" "+state)
		}
		slices.Sort(out)
		return slices.Compact(out)
	}
	all := func(state string) []string {
		var out []string
		for _, m := range []string{"notification", "order", "user"} {
			out = append(out, m+" module "+state, m+" platform "+state)
		}
		return out
	}
	eachSite(t, func(t *testing.T, s *site) {
		var rows []row
		s.data(t, &rows, "migrate", "up")
		require.Equal(t, all("applied"), states(rows))
		s.data(t, &rows, "migrate", "up")
		require.Empty(t, rows, "there is nothing left to do")
		s.data(t, &rows, "migrate", "status")
		require.Equal(t, all("applied"), states(rows))
		s.data(t, &rows, "migrate", "down", "--module", "order")
		require.Equal(t, []string{"order module taken back"}, states(rows))
		s.data(t, &rows, "migrate", "status", "--module", "order")
		require.Equal(t, []string{"order module pending", "order platform applied"}, states(rows))
		s.refuses(t, "name the module", "migrate", "down")
		s.refuses(t, `--module is "orders"`, "migrate", "up", "--module", "orders")
		s.data(t, &rows, "migrate", "up")
		require.Equal(t, []string{"order module applied"}, states(rows))
		table := s.do(t, "migrate", "status")
		require.Regexp(t, `^MODULE +SET +VERSION +NAME +STATE +APPLIED_AT\n`, table.out)
		newWorld(t, s).balanced(t)
	})
}

func TestConfigShow(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "cleave.yaml")
	require.NoError(t, os.WriteFile(file, []byte("log:\n  level: warn\n"), 0o600))
	const secret = "a-secret-that-nobody-may-see"
	s := sqliteSite(t, "CLEAVE_DB_ADMIN_DSN=postgres://root:"+secret+"@db.example/cleave", "CLEAVE_DB_ROLE_SECRET="+secret, "CLEAVE_MODULES_NOTIFICATION_SMTP_PASSWORD="+secret)
	var rows []struct{ Key, Value, Source string }
	s.data(t, &rows, "config", "show", "--config", file, "--set", "http.max_body=2048")
	shown := map[string][2]string{}
	for _, r := range rows {
		require.NotContains(t, r.Value, secret)
		shown[r.Key] = [2]string{r.Value, r.Source}
	}
	require.Equal(t, [2]string{"warn", "file:" + file + ":2"}, shown["log.level"])
	require.Equal(t, [2]string{"2048", "flag --set"}, shown["http.max_body"])
	require.Equal(t, [2]string{s.dir, "env CLEAVE_DATA_DIR"}, shown["data.dir"])
	require.Equal(t, [2]string{"10m", "default"}, shown["auth.access_ttl"])
	require.Contains(t, shown["db.admin_dsn"][0], "db.example/cleave")
	require.Contains(t, shown, "modules.order.place_timeout")
	table := s.do(t, "config", "show")
	require.Zero(t, table.code)
	require.NotContains(t, table.out+table.err, secret)

	valid := map[string]bool{}
	s.data(t, &valid, "config", "validate")
	require.Equal(t, map[string]bool{"valid": true}, valid)
	two := s.do(t, "config", "validate", "--set", "log.level=loud", "--set", "http.max_body=1")
	require.Equal(t, 2, two.code)
	require.Len(t, strings.Split(strings.TrimSpace(two.err), "\n"), 2, "one line for each problem")
	_, err := os.Stat(s.dir)
	require.ErrorIs(t, err, os.ErrNotExist, "a command that only reads has made the data folder")
}

func TestOpenAPI(t *testing.T) {
	t.Parallel()
	s := sqliteSite(t)
	o := s.do(t, "openapi")
	require.Zero(t, o.code, o.err)
	require.Empty(t, o.err)
	doc, err := openapi3.NewLoader().LoadFromData([]byte(o.out))
	require.NoError(t, err)
	require.NoError(t, doc.Validate(t.Context()))
	for _, path := range []string{"/api/v1/users", "/api/v1/orders", "/api/v1/notifications/stream"} {
		require.NotNil(t, doc.Paths.Find(path), path)
	}
	yaml := s.do(t, "openapi", "--format", "yaml", "--module", "order")
	require.Regexp(t, `(?m)^openapi: "?3\.0\.3"?$`, yaml.out)
	require.NotContains(t, yaml.out, "/api/v1/users:")

	v := s.serve(t)
	resp, err := http.Get(v.url + "/openapi.json") //nolint:noctx // the server's stop ends it
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	served, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	servedDoc, err := openapi3.NewLoader().LoadFromData(served)
	require.NoError(t, err)
	require.Equal(t, doc.Paths.InMatchingOrder(), servedDoc.Paths.InMatchingOrder())
}

func TestHealthcheck(t *testing.T) {
	t.Parallel()
	addr := nettest.FreeAddress(t)
	s := sqliteSite(t, "CLEAVE_HTTP_ADDR="+addr)
	v := s.serve(t)
	o := s.do(t, "healthcheck", "--addr", addr)
	require.Equal(t, outcome{took: o.took}, o)
	v.stop(t)
	o = s.do(t, "healthcheck", "--addr", addr)
	require.Equal(t, 1, o.code)
	require.Regexp(t, "^app: not ready: .*connection refused\n$", o.err)
	require.Empty(t, o.out)
}

func TestVersion(t *testing.T) {
	t.Parallel()
	s := sqliteSite(t)
	var version map[string]string
	s.data(t, &version, "version")
	require.Equal(t, "dev", version["version"])
	require.True(t, strings.HasPrefix(version["go"], "go1."), version["go"])
	o := s.do(t, "version")
	require.Regexp(t, `^version +dev\n`, o.out)
	require.Empty(t, o.err)
	s.refuses(t, `unknown command "servr" of app: did you mean serve\?`, "servr")
	s.refuses(t, `--output is "xml"`, "version", "--output", "xml")
}

// TestCreateAdmin makes the first administrator at the command line.
func TestCreateAdmin(t *testing.T) {
	t.Parallel()
	s := sqliteSite(t)
	v := s.serve(t)
	file := filepath.Join(s.dir, "first-admin-token")
	token, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, v.token, strings.TrimSpace(string(token)))
	info, err := os.Stat(file)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())

	create := []string{"user", "create-admin", "--url", v.url, "--email", "root@example.com", "--password-stdin", "--output", "json"}
	o := s.feed(t, "short\n", create...)
	require.Equal(t, 2, o.code, o.err)
	require.Contains(t, o.err, "password")
	o = s.feed(t, password+"\n", append(create, "--token", strings.Repeat("A", 43))...)
	require.Equal(t, 1, o.code, o.err)
	require.Contains(t, o.err, "first_admin_token_invalid")

	o = s.feed(t, password+"\n", create...)
	require.Zero(t, o.code, o.err)
	require.Empty(t, o.err)
	var made struct{ Roles []string }
	require.NoError(t, json.Unmarshal([]byte(o.out), &made), o.out)
	require.ElementsMatch(t, []string{"admin", "customer"}, made.Roles)
	require.NoFileExists(t, file, "a used token is still there")
	c := newCaller(t, v.url)
	c.logIn(t, "root@example.com")

	o = s.feed(t, password+"\n", append(create, "--token", v.token)...) // without, there is no file to take it from
	require.Equal(t, 1, o.code, o.err)
	require.Contains(t, o.err, "first_admin_exists")
	require.Empty(t, o.out)
}
