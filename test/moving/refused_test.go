package moving_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"cleave/platform/nettest"
	"cleave/test/harness"
)

// TestRefused asks for moves that cannot be made: each is refused with a reason, and nothing moves.
func TestRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	home, away, nobody := nettest.FreeAddress(t), nettest.FreeAddress(t), nettest.FreeAddress(t)
	whole := s.start(t, "whole", "all", "user,order,notification", home, nil)
	s.start(t, "user", "user", "user", away, map[string]string{"order": home, "notification": home})
	shop := newShop(t, whole.url, whole.token, 1)
	where := func() string {
		code, modules, errs := s.command(t, whole.url, shop.admin.token, "module", "where", "--output", "json")
		require.Zero(t, code, errs)
		code, edges, errs := s.command(t, whole.url, shop.admin.token, "edge", "list", "--output", "json")
		require.Zero(t, code, errs)
		var rows []struct{ Target string }
		require.NoError(t, json.Unmarshal([]byte(edges), &rows))
		require.Len(t, rows, 1)
		return modules + rows[0].Target
	}
	before := where()
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"NoTarget":      {[]string{"extract", "user"}, 2, "--to"},
		"UnknownModule": {[]string{"extract", "users", "--to", away}, 2, `no module "users"`},
		"NobodyThere":   {[]string{"extract", "user", "--to", nobody, "--compare", "0"}, 1, "connection refused"},
		"NotItsModule":  {[]string{"extract", "order", "--to", away, "--compare", "0"}, 1, "module_away"},
		"AlreadyHere":   {[]string{"merge", "user"}, 1, "is there already"},
		"BadAddress":    {[]string{"edge", "set", "order→user", "nowhere"}, 1, "nowhere"},
		"NoEdge":        {[]string{"edge", "set", "user→order", away}, 1, "edge_unknown"},
		"NoArrow":       {[]string{"edge", "set", "user", away}, 2, "CALLER→CALLEE"},
		"RequestsHere":  {[]string{"module", "stop", "user"}, 1, "requests_need_module"},
		"EdgeLeadsHere": {[]string{"module", "stop", "user", "--requests-to", away}, 1, "edge_leads_here"},
		"ComparesLong":  {[]string{"extract", "user", "--to", away, "--compare", "1m"}, 2, "--compare"},
	} {
		code, out, errs := s.command(t, whole.url, shop.admin.token, c.args...)
		require.Equal(t, c.code, code, "%s: %s", name, errs)
		require.Contains(t, errs, c.says, name)
		require.Empty(t, out, name)
		require.Equal(t, before, where(), name)
	}
	code, _, errs := s.command(t, whole.url, shop.customers[0].token, "extract", "user", "--to", away)
	require.Equal(t, 1, code)
	require.Contains(t, errs, "permission_denied")
	shop.customers[0].logIn(t, shop.customers[0].email)
}

// TestRefused_Alone is about a process that has nothing to do with others.
func TestRefused_Alone(t *testing.T) {
	t.Parallel()
	s := &site{dir: t.TempDir(), env: []string{"CLEAVE_HTTP_ADDR=127.0.0.1:0"}}
	p, err := harness.Start(harness.Command(binary, append(s.env, "CLEAVE_DATA_DIR="+s.dir+"/data"), "serve"))
	require.NoError(t, err)
	alone := &process{Process: p}
	t.Cleanup(func() { alone.stop(t) })
	alone.url, alone.token, err = p.Ready(t.Context())
	require.NoError(t, err)
	shop := newShop(t, alone.url, alone.token, 0)
	code, _, errs := s.command(t, alone.url, shop.admin.token, "extract", "user", "--to", "127.0.0.1:1", "--compare", "0")
	require.Equal(t, 1, code, errs)
	require.Contains(t, errs, "topology.tls_cert")
	code, _, errs = s.command(t, alone.url, shop.admin.token, "module", "stop", "user", "--requests-to", "127.0.0.1:1")
	require.Equal(t, 1, code, errs)
	require.Contains(t, errs, "pipe_in_process")
}
