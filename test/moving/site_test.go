package moving_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cleave/platform/db/dbtest"
	"cleave/platform/event/eventtest"
	"cleave/platform/trust/authority"
	"cleave/test/harness"
)

// site is what all processes share: a Postgres, a NATS, and the authority that
// vouches for them.
type site struct {
	dir       string
	env       []string
	authority *authority.Authority
}

func newSite(t *testing.T, settings ...string) *site {
	t.Helper()
	dir := t.TempDir()
	a, err := authority.Open(filepath.Join(dir, "certs"), "shop.test", time.Now)
	require.NoError(t, err)
	c := dbtest.Postgres(t)
	return &site{dir: dir, authority: a, env: append([]string{
		"CLEAVE_HTTP_ADDR=127.0.0.1:0", "CLEAVE_LOG_LEVEL=warn",
		"CLEAVE_DB_DSN=" + c.DSN, "CLEAVE_DB_ADMIN_DSN=" + c.AdminDSN, "CLEAVE_DB_ROLE_SECRET=" + c.RoleSecret,
		"CLEAVE_EVENTS_PIPE=" + eventtest.NATS(t).URL,
	}, settings...)}
}

// process is one that runs some of the modules.
type process struct {
	*harness.Process
	url, token string
	addr       string // for other processes
}

// start runs the modules at addr in a process whose certificate names more of them, as in order,user.
func (s *site) start(t *testing.T, name, modules, named, addr string, peers map[string]string) *process {
	t.Helper()
	var names []string
	if named != "" {
		names = strings.Split(named, ",")
	}
	files, err := s.authority.Issue(name, names)
	require.NoError(t, err)
	env := append(s.env[:len(s.env):len(s.env)], "CLEAVE_DATA_DIR="+filepath.Join(s.dir, name), "CLEAVE_TOPOLOGY_ADDR="+addr,
		"CLEAVE_TOPOLOGY_TLS_CERT="+files.Cert, "CLEAVE_TOPOLOGY_TLS_KEY="+files.Key, "CLEAVE_TOPOLOGY_TLS_CA="+files.CA)
	for module, at := range peers {
		env = append(env, "CLEAVE_TOPOLOGY_PEERS_"+strings.ToUpper(module)+"="+at)
	}
	p, err := harness.Start(harness.Command(binary, env, "serve", "--modules="+modules))
	require.NoError(t, err)
	v := &process{Process: p, addr: addr}
	t.Cleanup(func() { v.stop(t) })
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	v.url, v.token, err = p.Ready(ctx)
	require.NoError(t, err)
	return v
}

func (p *process) stop(t *testing.T) {
	select {
	case <-p.Exited():
		return
	default:
	}
	_ = p.Signal(syscall.SIGTERM) // it may have ended meanwhile
	select {
	case <-p.Exited():
		if !t.Failed() {
			require.Zero(t, p.Code(), p.Log())
			require.NotContains(t, p.Log(), `"level":"ERROR"`)
		}
	case <-time.After(patience):
		_ = p.Signal(syscall.SIGQUIT)
		<-p.Exited()
		t.Errorf("the process did not stop:\n%s", p.Log())
	}
	if t.Failed() {
		t.Logf("%s:\n%s", p.url, p.Log())
	}
}

// command runs a command about the server at url as who has the token, and returns what it printed.
func (s *site) command(t *testing.T, url, token string, args ...string) (code int, out, errs string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte(token), 0o600))
	cmd := harness.Command(binary, nil, append(args, "--url", url, "--token-file", file)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	_ = cmd.Run() // the code says it all
	return cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()
}
