package journey_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cleave/platform/db"
	"cleave/platform/db/dbtest"
	"cleave/test/harness"
)

// site is an installation: a data folder and a database, which outlive the
// processes that work on them.
type site struct {
	dir string
	db  db.Config
	env []string
}

// newSite is an empty one. More settings are variables such as
// CLEAVE_SAGAS_LEASE=1s.
func newSite(t testing.TB, c db.Config, settings ...string) *site {
	t.Helper()
	s := &site{dir: filepath.Join(t.TempDir(), "data"), db: c}
	s.env = []string{
		"CLEAVE_HTTP_ADDR=127.0.0.1:0", "CLEAVE_DATA_DIR=" + s.dir,
		"CLEAVE_DB_DSN=" + c.DSN, "CLEAVE_DB_ADMIN_DSN=" + c.AdminDSN, "CLEAVE_DB_ROLE_SECRET=" + c.RoleSecret,
	}
	s.env = append(s.env, settings...)
	return s
}

func sqliteSite(t testing.TB, settings ...string) *site {
	t.Helper()
	return newSite(t, db.Config{}, settings...)
}

// eachSite runs fn at the same time on an empty site of each database.
func eachSite(t *testing.T, fn func(t *testing.T, s *site), settings ...string) {
	t.Helper()
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		t.Parallel()
		fn(t, newSite(t, c, settings...))
	})
}

// command is the program with the site's settings and none of this process's.
func (s *site) command(args ...string) *exec.Cmd { return harness.Command(binary, s.env, args...) }

// outcome is what a command left behind.
type outcome struct {
	code     int
	out, err string
	took     time.Duration
}

// do runs a command to its end.
func (s *site) do(t testing.TB, args ...string) outcome { return s.feed(t, "", args...) }

func (s *site) feed(t testing.TB, input string, args ...string) outcome {
	t.Helper()
	cmd := s.command(args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &errs
	began := time.Now()
	require.NoError(t, cmd.Start())
	overdue := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	_ = cmd.Wait() // the code says it all
	overdue.Stop()
	return outcome{cmd.ProcessState.ExitCode(), out.String(), errs.String(), time.Since(began)}
}

// data runs a command that must succeed in silence, and decodes what it printed.
func (s *site) data(t testing.TB, into any, args ...string) {
	t.Helper()
	o := s.do(t, append(args, "--output", "json")...)
	require.Zero(t, o.code, o.err)
	require.Empty(t, o.err)
	require.NoError(t, json.Unmarshal([]byte(o.out), into), o.out)
}

// server is a process that serves.
type server struct {
	*harness.Process
	url   string
	token string // of the first administrator; "" when there is one
	block string // what it printed when it was ready
}

// serve starts a server and returns once it is ready. It is stopped at the end
// of the test, unless the test does that, and must not have logged an error.
func (s *site) serve(t testing.TB, args ...string) *server {
	t.Helper()
	p, err := harness.Start(s.command(append([]string{"serve"}, args...)...))
	require.NoError(t, err)
	v := &server{Process: p}
	t.Cleanup(func() { v.end(t) })
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	v.url, v.token, err = p.Ready(ctx)
	require.NoError(t, err)
	v.block = p.Log()
	return v
}

// signal sends s and waits until the process has ended.
func (v *server) signal(t testing.TB, s syscall.Signal) int {
	t.Helper()
	require.NoError(t, v.Signal(s))
	return v.wait(t)
}

// wait returns the exit code of the process; -1 means that a signal ended it.
func (v *server) wait(t testing.TB) int {
	t.Helper()
	select {
	case <-v.Exited():
	case <-time.After(patience):
		_ = v.Signal(syscall.SIGQUIT) // shows what every goroutine waits for
		<-v.Exited()
		t.Fatalf("the server did not stop:\n%s", v.Log())
	}
	return v.Code()
}

// stop ends the server as an operator does.
func (v *server) stop(t testing.TB) {
	t.Helper()
	require.Zero(t, v.signal(t, syscall.SIGTERM), v.Log())
}

func (v *server) end(t testing.TB) {
	select {
	case <-v.Exited():
	default:
		v.stop(t)
	}
	for _, line := range v.Lines() {
		if strings.Contains(line, `"level":"ERROR"`) || strings.HasPrefix(line, "panic:") {
			t.Errorf("the server logged: %s", line)
		}
	}
	if t.Failed() && testing.Verbose() {
		t.Logf("the server's log:\n%s", v.Log())
	}
}

// lines is output that can be read while it is written.
type lines struct {
	mu   sync.Mutex
	text []byte
}

// Write implements io.Writer.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p...)
	return len(p), nil
}

func (l *lines) bytes() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text
}
