package topology_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cleave/platform/db"
	"cleave/platform/nettest"
	"cleave/platform/trust/authority"
	"cleave/test/harness"
)

// names are the modules of the program.
var names = []string{"user", "order", "notification"}

// partition says which modules run together; a group without any is a gateway.
type partition [][]string

// partitions are the five of three modules. The first is the program in one
// process, which the others are compared with.
var partitions = []partition{
	{{"user", "order", "notification"}},
	{{"user", "order"}, {"notification"}},
	{{"user", "notification"}, {"order"}},
	{{"order", "notification"}, {"user"}},
	{{"user"}, {"order"}, {"notification"}},
}

func (p partition) String() string {
	groups := make([]string, len(p))
	for i, g := range p {
		groups[i] = group(g)
	}
	return strings.Join(groups, " ")
}

// group is the name of a process.
func group(modules []string) string {
	if len(modules) == 0 {
		return "gateway"
	}
	return strings.Join(modules, "-")
}

// site is an installation of the program as a partition has it.
type site struct {
	db        db.Config
	processes []*process
	token     string // for the first administrator
	pipe      string
}

type process struct {
	*harness.Process
	modules []string
	dir     string
	url     string
	addr    string // for the others
}

// settings suit every process of every run. The public address and the issuer
// are the same wherever the front door is.
var settings = []string{
	"CLEAVE_HTTP_PUBLIC_URL=http://shop.example", "CLEAVE_AUTH_ISSUER=http://shop.example",
	"CLEAVE_MODULES_USER_REQUIRE_VERIFIED_EMAIL=never", "CLEAVE_MODULES_ORDER_PLACE_TIMEOUT=1s", "CLEAVE_HTTP_MAX_BODY=65536", "CLEAVE_HTTP_CORS_ORIGINS=https://front.example",
	"CLEAVE_EVENTS_POLL=100ms", "CLEAVE_SAGAS_POLL=100ms", "CLEAVE_LOG_FORMAT=json",
}

// newSite starts the program, in parts and with a gateway unless all of it is
// one process, and returns when every process reaches every module.
func newSite(t testing.TB, program string, p partition, c db.Config, pipe string, more ...string) *site {
	t.Helper()
	s := &site{db: c, pipe: pipe}
	if len(p) > 1 {
		p = append(slices.Clone(p), nil)
	}
	root := t.TempDir()
	ca, err := authority.Open(filepath.Join(root, "ca"), "shop.example", time.Now)
	require.NoError(t, err)
	for _, modules := range p {
		s.processes = append(s.processes, &process{modules: modules, dir: filepath.Join(root, group(modules)), url: "http://" + nettest.FreeAddress(t), addr: nettest.FreeAddress(t)})
	}
	for _, one := range s.processes {
		env := append(slices.Clone(settings), "CLEAVE_HTTP_ADDR="+strings.TrimPrefix(one.url, "http://"), "CLEAVE_DATA_DIR="+one.dir, "CLEAVE_EVENTS_PIPE="+pipe,
			"CLEAVE_DB_DSN="+c.DSN, "CLEAVE_DB_ADMIN_DSN="+c.AdminDSN, "CLEAVE_DB_ROLE_SECRET="+c.RoleSecret)
		args := []string{"serve"}
		if len(p) > 1 {
			files, err := ca.Issue(group(one.modules), one.modules)
			require.NoError(t, err)
			env = append(env, "CLEAVE_TOPOLOGY_TLS_CERT="+files.Cert, "CLEAVE_TOPOLOGY_TLS_KEY="+files.Key, "CLEAVE_TOPOLOGY_TLS_CA="+files.CA)
			args = append(args, "--modules="+strings.Join(one.modules, ","))
			if len(one.modules) > 0 {
				env = append(env, "CLEAVE_TOPOLOGY_ADDR="+one.addr)
			}
			for _, other := range s.processes {
				for _, m := range other.modules {
					if other != one {
						args = append(args, "--set", "topology.peers."+m+"="+other.addr)
					}
				}
			}
		}
		one.Process, err = harness.Start(harness.Command(program, append(env, more...), args...))
		require.NoError(t, err)
		t.Cleanup(func() { one.end(t) })
	}
	for _, one := range s.processes {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		_, token, err := one.Ready(ctx)
		cancel()
		require.NoError(t, err)
		s.token += token
	}
	require.NotEmpty(t, s.token, "no process offers a token for the first administrator")
	for _, one := range s.processes {
		require.True(t, happens(func() bool { return reaches(one.url) }), "%s does not reach every module:\n%s", group(one.modules), one.Log())
	}
	return s
}

// reaches reports whether everything that a process shows of its state is well.
func reaches(url string) bool {
	a, err := (&door{url: url, client: httpClient}).send("GET", "/readyz?verbose", "", "")
	return err == nil && a.status == 200 && !strings.Contains(a.body, "[-]")
}

// of returns the process that runs the module.
func (s *site) of(module string) *process {
	return s.processes[slices.IndexFunc(s.processes, func(p *process) bool { return slices.Contains(p.modules, module) })]
}

// end stops a process as an operator does, and looks for errors in its log.
func (p *process) end(t testing.TB) {
	_ = p.Signal(syscall.SIGTERM)
	select {
	case <-p.Exited():
	case <-time.After(patience):
		_ = p.Signal(syscall.SIGQUIT)
		<-p.Exited()
	}
	if p.Code() != 0 {
		t.Errorf("%s ended with %d:\n%s", group(p.modules), p.Code(), p.Log())
	}
	for _, line := range p.Lines() {
		if strings.Contains(line, `"level":"ERROR"`) || strings.HasPrefix(line, "panic:") {
			t.Errorf("%s logged: %s", group(p.modules), line)
		}
	}
	if t.Failed() && options.keep != "" {
		_ = os.MkdirAll(options.keep, 0o755)
		_ = os.WriteFile(filepath.Join(options.keep, strings.ReplaceAll(t.Name(), "/", "_")+"."+group(p.modules)+".log"), []byte(p.Log()), 0o600)
	}
}

func (p *process) String() string { return fmt.Sprintf("%s at %s", group(p.modules), p.url) }
