package main

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cleave/platform/cli"
	"cleave/platform/config"
	"cleave/platform/nettest"
)

// binary is the program as it is released, built once.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "cleave-app-*")
	if err != nil {
		panic(err)
	}
	// The container's user must be able to reach it.
	if err := os.Chmod(dir, 0o755); err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "app")
	build := exec.Command("go", "build", "-trimpath", "-tags", "nomsgpack", "-ldflags", "-s -w -X main.version=9.8.7", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	build.Stderr = os.Stderr
	code := 1
	if build.Run() == nil {
		code = m.Run()
	}
	if err := os.RemoveAll(dir); err != nil {
		panic(err)
	}
	os.Exit(code)
}

// show returns the configuration that args describe, by key.
func show(t *testing.T, args ...string) map[string]config.Row {
	t.Helper()
	var out, errs bytes.Buffer
	code := cli.Main(t.Context(), append([]string{"config", "show", "--output", "json"}, args...),
		cli.IO{Out: &out, Err: &errs, Env: []string{}}, version, modules)
	require.Equal(t, cli.OK, code, errs.String())
	var rows []config.Row
	require.NoError(t, json.Unmarshal(out.Bytes(), &rows))
	byKey := map[string]config.Row{}
	for _, r := range rows {
		byKey[r.Key] = r
	}
	return byKey
}

func TestDocumentedConfiguration(t *testing.T) {
	t.Parallel()
	t.Run("HasEveryKeyWithItsDefault", func(t *testing.T) {
		t.Parallel()
		defaults, file := show(t), show(t, "--config", "../../configs/app.yaml")
		for key, want := range defaults {
			require.Equal(t, want.Value, file[key].Value, "configs/app.yaml: the default of %s", key)
			if key == "db.modules" || key == "topology.peers" {
				continue // an empty map has no value to show a source for
			}
			require.Contains(t, file[key].Source, "app.yaml:", "configs/app.yaml does not name %s", key)
		}
		text, err := os.ReadFile("../../configs/app.yaml")
		require.NoError(t, err)
		require.Contains(t, string(text), "\n  modules: {}\n")
		require.Contains(t, string(text), "\n  peers: {}\n")
	})
	t.Run("PostgresIsValid", func(t *testing.T) {
		t.Parallel()
		rows := show(t, "--config", "../../configs/postgres.yaml")
		require.Equal(t, "postgres://localhost:5432/cleave", rows["db.dsn"].Value)
		require.Empty(t, rows["db.role_secret"].Value)
	})
}

// process is the released binary, running.
type process struct {
	*exec.Cmd
	url    string
	env    []string
	stdout bytes.Buffer
	stderr bytes.Buffer
}

// start serves on a free port and returns once the process is ready. As root it
// confines the process like a container from scratch does: no file but the
// binary and the data folder, nothing else writable, an unprivileged user.
func start(t *testing.T) *process {
	t.Helper()
	addr := nettest.FreeAddress(t)
	p := &process{url: "http://" + addr}
	p.Cmd = exec.Command(binary, "serve")
	data := filepath.Join(t.TempDir(), "data")
	if os.Geteuid() == 0 {
		root := t.TempDir()
		require.NoError(t, os.Chmod(root, 0o555))
		require.NoError(t, os.Link(binary, filepath.Join(root, "app")))
		require.NoError(t, os.Mkdir(filepath.Join(root, "data"), 0o700))
		require.NoError(t, os.Chown(filepath.Join(root, "data"), 65532, 65532))
		p.Path, p.Args, p.Dir, data = "/app", []string{"/app", "serve"}, "/", "/data"
		p.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: 65532, Gid: 65532, NoSetGroups: true}}
	}
	p.env = []string{"CLEAVE_HTTP_ADDR=" + addr, "CLEAVE_DATA_DIR=" + data, "TMPDIR=" + data}
	p.Env, p.Stdout, p.Stderr = p.env, &p.stdout, &p.stderr
	require.NoError(t, p.Start())
	t.Cleanup(func() {
		if p.ProcessState == nil {
			_ = p.Process.Kill()
			_ = p.Wait()
		}
	})
	require.Eventually(t, func() bool {
		res, err := http.Get(p.url + "/readyz")
		if err != nil {
			return false
		}
		defer res.Body.Close()
		return res.StatusCode == http.StatusOK
	}, 30*time.Second, 20*time.Millisecond, "the process does not become ready")
	return p
}

// slowRequest sends the head of a request whose body comes later, so that it is
// under way until finish is called; finish returns the status line.
func slowRequest(t *testing.T, p *process) (finish func() (string, error)) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	_, err = io.WriteString(conn, "POST /api/v1/sessions HTTP/1.1\r\nHost: app\r\nContent-Type: application/json\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
	require.NoError(t, err)
	// The process says 100 when it begins to read the body: the request has reached it.
	head := make([]byte, len("HTTP/1.1 100 Continue\r\n\r\n"))
	_, err = io.ReadFull(conn, head)
	require.NoError(t, err)
	require.Contains(t, string(head), "100 Continue")
	return func() (string, error) {
		if _, err := io.WriteString(conn, "{}"); err != nil {
			return "", err
		}
		answer, err := io.ReadAll(conn)
		line, _, _ := strings.Cut(string(answer), "\r\n")
		return line, err
	}
}

func TestBinary(t *testing.T) {
	t.Parallel()
	t.Run("IsStatic", func(t *testing.T) {
		t.Parallel()
		f, err := elf.Open(binary)
		require.NoError(t, err)
		defer f.Close()
		for _, p := range f.Progs {
			require.NotEqual(t, elf.PT_INTERP, p.Type, "the binary wants a dynamic loader")
		}
		info, err := os.Stat(binary)
		require.NoError(t, err)
		require.LessOrEqual(t, info.Size(), int64(45_000_000), "the stripped binary is larger than its budget, see docs/performance.md")
	})
	t.Run("NeedsNoEnvironment", func(t *testing.T) {
		t.Parallel()
		cmd := exec.Command(binary, "version", "--output", "json")
		cmd.Env = []string{}
		out, err := cmd.Output()
		require.NoError(t, err)
		require.Contains(t, string(out), `"version": "9.8.7"`)
	})
	t.Run("ExitCodes", func(t *testing.T) {
		t.Parallel()
		for code, args := range map[int][]string{2: {"serve", "--addr", "x"}, 1: {"healthcheck", "--addr", "127.0.0.1:1"}, 0: {"config", "validate"}} {
			cmd := exec.CommandContext(t.Context(), binary, args...)
			cmd.Env = []string{}
			_ = cmd.Run()
			require.Equal(t, code, cmd.ProcessState.ExitCode(), "%v", args)
		}
	})
	t.Run("RefusesKafka", func(t *testing.T) {
		t.Parallel()
		for _, args := range [][]string{{"serve"}, {"config", "validate"}} {
			cmd := exec.CommandContext(t.Context(), binary, args...)
			data := filepath.Join(t.TempDir(), "data")
			cmd.Env = []string{"CLEAVE_EVENTS_PIPE=kafka://app:hush@host:9092", "CLEAVE_DATA_DIR=" + data}
			var said bytes.Buffer
			cmd.Stderr = &said
			_ = cmd.Run()
			require.Equal(t, cli.Usage, cmd.ProcessState.ExitCode(), "%v", args)
			require.Regexp(t, `^app: events\.pipe is kafka://\*\*\*@host:9092 \(env CLEAVE_EVENTS_PIPE\), allowed: kafka:// in the program with Kafka's client, cmd/app/extended .*\n$`, said.String(), "%v", args)
			require.NoDirExists(t, data)
		}
	})
	t.Run("ServesFromAnEmptyRoot", func(t *testing.T) {
		t.Parallel()
		p := start(t)
		check := exec.Command(p.Path, "healthcheck")
		check.Env, check.SysProcAttr, check.Dir = p.env, p.SysProcAttr, p.Dir
		out, err := check.CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.NoError(t, p.Process.Signal(syscall.SIGTERM))
		require.NoError(t, p.Wait(), p.stderr.String())
		require.Contains(t, p.stderr.String(), p.url)
		require.Empty(t, p.stdout.String())
	})
	t.Run("FinishesRequestsOnSIGTERM", func(t *testing.T) {
		t.Parallel()
		p := start(t)
		finish := slowRequest(t, p)
		require.NoError(t, p.Process.Signal(syscall.SIGTERM))
		require.Eventually(t, func() bool {
			_, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
			return err != nil
		}, 10*time.Second, 10*time.Millisecond, "the listener stays open")
		line, err := finish()
		require.NoError(t, err)
		require.Contains(t, line, "HTTP/1.1 4", "an empty log-in is refused by the process that is stopping")
		require.NoError(t, p.Wait(), p.stderr.String())
	})
	t.Run("EndsAtOnceOnASecondSignal", func(t *testing.T) {
		t.Parallel()
		p := start(t)
		slowRequest(t, p)
		require.NoError(t, p.Process.Signal(os.Interrupt))
		ended := make(chan error, 1)
		go func() { ended <- p.Wait() }()
		// The first signal may still be on its way through the process: repeat until it has gone.
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		for {
			select {
			case <-ended:
				require.NotEqual(t, 0, p.ProcessState.ExitCode())
				return
			case <-ctx.Done():
				t.Fatal("the process outlives a second signal")
			case <-time.After(50 * time.Millisecond):
				_ = p.Process.Signal(os.Interrupt)
			}
		}
	})
}
