package cli_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"cleave/platform/cli"
	"cleave/platform/db"
	"cleave/platform/db/dbtest"
	"cleave/platform/fault"
	"cleave/platform/module"
	"cleave/platform/nettest"
)

const document = `openapi: 3.0.3
info: {title: Notes, version: 1.0.0}
paths:
  /api/v1/notes:
    get:
      operationId: listNotes
      responses:
        "200": {description: The notes.}
`

type noteConfig struct {
	Colour string `mapstructure:"colour" validate:"oneof=red blue"`
	Key    string `mapstructure:"key" secret:"true"`
}

type noteRow struct {
	Name string    `json:"name"`
	At   time.Time `json:"at"`
}

// noKeys issues no tokens, in a process that has no REST operation to accept one.
type noKeys struct{}

func (noKeys) PublicKeys(context.Context) (map[string]*ecdsa.PublicKey, error) { return nil, nil }

// note is a module of which only the database and the commands matter here.
var note = module.Spec{
	Name: "note",
	Migrations: fstest.MapFS{
		"sqlite/00001_notes.sql":   {Data: []byte("-- +goose Up\nCREATE TABLE notes (id TEXT PRIMARY KEY);\n-- +goose Down\nDROP TABLE notes;\n")},
		"postgres/00001_notes.sql": {Data: []byte("-- +goose Up\nCREATE TABLE notes (id text PRIMARY KEY);\n-- +goose Down\nDROP TABLE notes;\n")},
	},
	OpenAPI: []byte(document),
	Config:  func() any { return &noteConfig{Colour: "red"} },
	Wire:    func(*module.Env) (module.Parts, error) { return module.Parts{Keys: noKeys{}}, nil },
	Commands: func(t *module.Tool) []*cobra.Command {
		return []*cobra.Command{
			{Use: "list", Short: "List notes", RunE: func(*cobra.Command, []string) error {
				return t.Print([]noteRow{{"a\nb", time.Unix(0, 0)}, {"second", time.Time{}}})
			}},
			{Use: "colour", Short: "Print the colour", RunE: func(*cobra.Command, []string) error {
				cfg, err := t.Config()
				if err != nil {
					return err
				}
				return t.Print(cfg.Modules["note"].(*noteConfig).Colour)
			}},
			{Use: "fail KIND", Short: "Fail", Args: cobra.ExactArgs(1), RunE: func(_ *cobra.Command, args []string) error {
				return fault.New(fault.ParseKind(args[0]), "", "no such luck").Wrap(fmt.Errorf("line one\nline two"))
			}},
		}
	},
}

type outcome struct {
	code     int
	out, err string
}

type setup struct {
	dir string
	env []string
}

func newSetup(t *testing.T) setup {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	return setup{dir: dir, env: []string{"CLEAVE_DATA_DIR=" + dir, "CLEAVE_HTTP_ADDR=127.0.0.1:0"}}
}

// run runs the program in this process, with the note module.
func (s setup) run(t *testing.T, args ...string) outcome {
	t.Helper()
	var out, errs bytes.Buffer
	code := cli.Main(t.Context(), args, cli.IO{In: strings.NewReader(""), Out: &out, Err: &errs, Env: s.env}, "1.2.3", []module.Spec{note},
		func(t *module.Tool) *cobra.Command {
			return &cobra.Command{Use: "demo", Short: "Extra", RunE: func(*cobra.Command, []string) error { return t.Print("demo ran") }}
		})
	return outcome{code, out.String(), errs.String()}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"NoCommand":          {nil, "app: app needs a command: audit, completion, config, "},
		"UnknownCommand":     {[]string{"serv"}, `app: unknown command "serv" of app: did you mean serve?`},
		"NothingNear":        {[]string{"zzz"}, `app: unknown command "zzz" of app: the commands are `},
		"GroupAlone":         {[]string{"migrate"}, "app: app migrate needs a command: down, status, up"},
		"UnknownInGroup":     {[]string{"migrate", "upp"}, `app: unknown command "upp" of app migrate: did you mean up?`},
		"UnknownInModule":    {[]string{"note", "lst"}, `app: unknown command "lst" of app note: did you mean list?`},
		"UnknownFlag":        {[]string{"serve", "--port", "1"}, "app: unknown flag: --port"},
		"FlagWithoutValue":   {[]string{"serve", "--addr"}, "app: flag needs an argument: --addr"},
		"SurplusArgument":    {[]string{"version", "now"}, `app: unknown command "now" for "app version"`},
		"MissingArgument":    {[]string{"note", "fail"}, "app: accepts 1 arg(s), received 0"},
		"Output":             {[]string{"version", "--output", "xml"}, `app: --output is "xml", allowed: table, json`},
		"MigrateModule":      {[]string{"migrate", "up", "--module", "nite"}, `app: --module is "nite", allowed: note`},
		"MigrateDownOfWhat":  {[]string{"migrate", "down"}, "app: migrate down drops data: name the module with --module NAME, or --all"},
		"OpenAPIModule":      {[]string{"openapi", "--module", "nite"}, `app: --module is "nite", allowed: note`},
		"OpenAPIFormat":      {[]string{"openapi", "--format", "xml"}, `app: --format is "xml", allowed: json, yaml`},
		"BadValue":           {[]string{"serve", "--addr", "x"}, `app: http.addr is "x" (flag --addr), allowed: host:port`},
		"BadSection":         {[]string{"config", "validate", "--set", "modules.note.colour=green"}, `app: modules.note.colour is "green" (flag --set), allowed: one of red, blue`},
		"MissingFile":        {[]string{"config", "show", "--config", "no.yaml"}, "app: the configuration file cannot be read: no such file or directory (file:no.yaml)"},
		"InvalidFromCommand": {[]string{"note", "fail", "invalid"}, "app: no such luck: line one; line two"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSetup(t)
			got := s.run(t, tc.args...)
			require.Equal(t, cli.Usage, got.code, got.err)
			require.Empty(t, got.out)
			require.Contains(t, got.err, tc.want)
			require.Equal(t, 1, strings.Count(got.err, "\n"), "one line: %s", got.err)
			require.NoDirExists(t, s.dir)
		})
	}
	t.Run("EveryProblemHasALine", func(t *testing.T) {
		t.Parallel()
		got := newSetup(t).run(t, "config", "validate", "--addr", "x", "--log-level", "loud")
		require.Equal(t, cli.Usage, got.code)
		require.Equal(t, 2, strings.Count(got.err, "app: "))
	})
	t.Run("FailureWhileRunning", func(t *testing.T) {
		t.Parallel()
		got := newSetup(t).run(t, "note", "fail", "conflict")
		require.Equal(t, outcome{cli.Failed, "", "app: no such luck: line one; line two\n"}, got)
	})
}

func TestHelp(t *testing.T) {
	t.Parallel()
	got := newSetup(t).run(t, "--help")
	require.Equal(t, cli.OK, got.code)
	require.Empty(t, got.err)
	for _, w := range []string{"serve", "migrate", "config", "healthcheck", "openapi", "version", "note", "demo", "--config FILE", "--output FORMAT", "--set KEY=VALUE", "--addr HOST:PORT"} {
		require.Contains(t, got.out, w)
	}
}

func TestOutput(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	t.Run("Version", func(t *testing.T) {
		t.Parallel()
		require.Contains(t, s.run(t, "version").out, "version   1.2.3\n")
		got := s.run(t, "version", "--output", "json")
		var v map[string]string
		require.NoError(t, json.Unmarshal([]byte(got.out), &v))
		require.Equal(t, "1.2.3", v["version"])
		require.Equal(t, "app version 1.2.3\n", s.run(t, "--version").out)
	})
	t.Run("Table", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, outcome{cli.OK, "NAME    AT\na b     1970-01-01T00:00:00Z\nsecond  -\n", ""}, s.run(t, "note", "list"))
	})
	t.Run("JSON", func(t *testing.T) {
		t.Parallel()
		var rows []noteRow
		require.NoError(t, json.Unmarshal([]byte(s.run(t, "note", "list", "--output", "json").out), &rows))
		require.Equal(t, "a\nb", rows[0].Name)
	})
	t.Run("ModuleSection", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, outcome{cli.OK, "blue\n", ""}, s.run(t, "note", "colour", "--set", "modules.note.colour=blue"))
	})
	t.Run("Extra", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, outcome{cli.OK, "demo ran\n", ""}, s.run(t, "demo"))
	})
}

func TestConfig(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	file := filepath.Join(t.TempDir(), "app.yaml")
	require.NoError(t, os.WriteFile(file, []byte("modules:\n  note:\n    key: hush\n"), 0o600))
	s.env = append(s.env, "CLEAVE_CONFIG="+file, "CLEAVE_DB_DSN=postgres://app:hush@localhost/cleave")

	got := s.run(t, "config", "show")
	require.Equal(t, cli.OK, got.code, got.err)
	require.NotContains(t, got.out, "hush")
	require.Regexp(t, `(?m)^KEY +VALUE +SOURCE$`, got.out)
	require.Regexp(t, `(?m)^modules\.note\.key +\*\*\* +file:.*app\.yaml:3$`, got.out)
	require.Regexp(t, `(?m)^db\.dsn +postgres://app:\*\*\*@localhost/cleave +env CLEAVE_DB_DSN$`, got.out)
	require.Regexp(t, `(?m)^log\.level +info +default$`, got.out)

	var rows []struct{ Key, Value, Source string }
	require.NoError(t, json.Unmarshal([]byte(s.run(t, "config", "show", "--output", "json", "--log-level", "warn").out), &rows))
	require.Contains(t, rows, struct{ Key, Value, Source string }{"log.level", "warn", "flag --log-level"}, "flags come after the command")
}

func TestOpenAPI(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	var asJSON, asYAML map[string]any
	require.NoError(t, json.Unmarshal([]byte(s.run(t, "openapi", "--module", "note").out), &asJSON))
	out := s.run(t, "openapi", "--module", "note", "--format", "yaml").out
	require.Contains(t, out, "openapi: 3.0.3\n")
	require.NoError(t, yaml.Unmarshal([]byte(out), &asYAML))
	require.Equal(t, asJSON, asYAML)
	require.Contains(t, asJSON["paths"], "/api/v1/notes")
}

func TestMigrate(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		s := setup{env: []string{
			"CLEAVE_DATA_DIR=" + filepath.Join(t.TempDir(), "data"), "CLEAVE_DB_DSN=" + c.DSN, "CLEAVE_DB_ADMIN_DSN=" + c.AdminDSN,
			"CLEAVE_DB_ROLE_SECRET=" + c.RoleSecret,
		}}
		rows := func(args ...string) []map[string]any {
			t.Helper()
			got := s.run(t, append(args, "--output", "json")...)
			require.Equal(t, cli.OK, got.code, got.err)
			require.Empty(t, got.err)
			rows := []map[string]any{}
			require.NoError(t, json.Unmarshal([]byte(got.out), &rows))
			return rows
		}
		applied := rows("migrate", "up")
		require.Equal(t, "00001_notes.sql", applied[len(applied)-1]["name"])
		require.Empty(t, rows("migrate", "up"))
		state := func() any {
			all := rows("migrate", "status")
			require.Equal(t, "note", all[0]["module"])
			return all[len(all)-1]["state"]
		}
		require.Equal(t, "applied", state())
		require.Len(t, rows("migrate", "down", "--module", "note"), 1)
		require.Equal(t, "pending", state())
		require.Empty(t, rows("migrate", "down", "--all"))
	})
}

func TestEnvironmentErrors(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = taken.Close() })
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))

	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"PortInUse":       {[]string{"serve", "--addr", taken.Addr().String()}, taken.Addr().String()},
		"DataIsAFile":     {[]string{"serve", "--data", file}, "data.dir"},
		"DataBelowAFile":  {[]string{"migrate", "up", "--data", filepath.Join(file, "x")}, "data.dir"},
		"NoFolderYet":     {[]string{"migrate", "status"}, "data folder"},
		"ServerNotThere":  {[]string{"serve", "--set", "db.dsn=postgres://app:hush@127.0.0.1:1/x", "--set", "db.role_secret=0123456789abcdef"}, "127.0.0.1:1"},
		"NoRoleSecret":    {[]string{"serve", "--set", "db.dsn=postgres://127.0.0.1:1/x"}, "db.role_secret"},
		"TracingVariable": {[]string{"serve", "--set", "trace.exporter=jaeger"}, "trace.exporter"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := newSetup(t).run(t, tc.args...)
			require.Equal(t, cli.Usage, got.code, got.err)
			require.Contains(t, got.err, tc.want)
			require.NotContains(t, got.err, "hush")
			require.Equal(t, 1, strings.Count(got.err, "\n"), "one line: %s", got.err)
			require.True(t, strings.HasPrefix(got.err, "app: "))
		})
	}
	t.Run("NewerSchema", func(t *testing.T) {
		t.Parallel()
		s := newSetup(t)
		require.Equal(t, cli.OK, s.run(t, "migrate", "up").code)
		d, err := db.Open(t.Context(), db.Config{Dir: s.dir}, "note", nil)
		require.NoError(t, err)
		require.NoError(t, d.Tx(t.Context(), func(ctx context.Context) error {
			return d.Conn(ctx).Exec("INSERT INTO module_versions (version_id, is_applied) VALUES (99, TRUE)").Error
		}))
		require.NoError(t, d.Close())
		for _, args := range [][]string{{"serve"}, {"migrate", "up"}} {
			got := s.run(t, args...)
			require.Equal(t, cli.Usage, got.code, got.err)
			require.Contains(t, got.err, "newer than this binary")
			require.Equal(t, 1, strings.Count(got.err, "\n"))
		}
	})
}

// lockedBuffer is written by the server while the test reads it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestServe(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	addr := nettest.FreeAddress(t)
	s.env = append(s.env, "CLEAVE_HTTP_ADDR="+addr)
	require.Equal(t, cli.Failed, s.run(t, "healthcheck").code, "nothing listens yet")

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var out, errs lockedBuffer
	ended := make(chan int, 1)
	go func() {
		ended <- cli.Main(ctx, []string{"serve"}, cli.IO{In: strings.NewReader(""), Out: &out, Err: &errs, Env: s.env}, "1.2.3", []module.Spec{note})
	}()
	require.Eventually(t, func() bool { return strings.Contains(errs.String(), "/readyz") }, 20*time.Second, 10*time.Millisecond, errs.String())
	for _, w := range []string{"Cleave 1.2.3", "http://" + addr + "/api/v1", "http://" + addr + "/docs", s.dir} {
		require.Contains(t, errs.String(), w)
	}
	require.Equal(t, outcome{}, s.run(t, "healthcheck"))

	stop()
	require.Equal(t, cli.OK, <-ended, errs.String())
	require.Empty(t, out.String())
	require.Equal(t, cli.Failed, s.run(t, "healthcheck").code)
}

func TestHealthcheck(t *testing.T) {
	t.Parallel()
	check := func(t *testing.T, h http.HandlerFunc) outcome {
		t.Helper()
		srv := httptest.NewServer(h)
		t.Cleanup(srv.Close)
		_, port, err := net.SplitHostPort(srv.Listener.Addr().String())
		require.NoError(t, err)
		return setup{env: []string{"CLEAVE_HTTP_ADDR=:" + port}}.run(t, "healthcheck")
	}
	t.Run("NotReady", func(t *testing.T) {
		t.Parallel()
		got := check(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte("[-] note database failed\nnot ready\n"))
		})
		require.Equal(t, cli.Failed, got.code)
		require.Contains(t, got.err, "503")
		require.Contains(t, got.err, "[-] note database failed not ready")
	})
	t.Run("NoAnswer", func(t *testing.T) {
		t.Parallel()
		got := check(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		require.Equal(t, cli.Failed, got.code)
		require.Contains(t, got.err, "deadline exceeded")
	})
	t.Run("BadConfigurationIsUnhealthyToo", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, cli.Failed, setup{env: []string{"CLEAVE_HTTP_ADDR=x"}}.run(t, "healthcheck").code)
	})
}
