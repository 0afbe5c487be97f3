package journey_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// figures are what app demo prints.
type figures struct {
	Placed, Confirmed, Rejected, Cancelled, Shipped, Delivered, Errors int64
}

// TestDemo runs the demo as a newcomer does, and again.
func TestDemo(t *testing.T) {
	eachSite(t, func(t *testing.T, s *site) {
		v := s.serve(t)
		var first, second figures
		o := s.do(t, "demo", "--url", v.url, "--rate", "80", "--duration", "1s", "--users", "3", "--output", "json")
		require.Zero(t, o.code, o.err)
		decode(t, []byte(o.out), &first)
		require.Equal(t, int64(80), first.Placed)
		require.Zero(t, first.Errors)
		for _, n := range []int64{first.Rejected, first.Cancelled, first.Shipped, first.Delivered} {
			require.Positive(t, n)
		}
		require.GreaterOrEqual(t, first.Confirmed, first.Shipped)
		require.Contains(t, o.err, "placed 80 ")

		o = s.do(t, "demo", "--url", v.url, "--rate", "80", "--duration", "1s", "--users", "3", "--output", "json")
		require.Zero(t, o.code, o.err)
		decode(t, []byte(o.out), &second)
		require.Equal(t, first, second, "the same seed has had another outcome")

		w := &world{site: s, server: v, admin: newCaller(t, v.url)}
		login, err := os.ReadFile(filepath.Join(s.dir, "demo-admin-password"))
		require.NoError(t, err)
		w.admin.logInWith(t, "demo-admin@example.com", string(bytes.TrimSpace(login)))
		w.balanced(t)
	})
}

// TestDemo_Interrupted ends early, with its figures.
func TestDemo_Interrupted(t *testing.T) {
	t.Parallel()
	s := sqliteSite(t)
	v := s.serve(t)
	cmd := s.command("demo", "--url", v.url, "--rate", "50", "--duration", "1h", "--users", "2", "--output", "json")
	var out bytes.Buffer
	progress := &lines{}
	cmd.Stdout, cmd.Stderr = &out, progress
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	require.True(t, happens(func() bool { return bytes.Contains(progress.bytes(), []byte(": placed ")) }), "%s", progress.bytes())
	began := time.Now()
	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	require.NoError(t, cmd.Wait(), "%s", progress.bytes())
	require.Less(t, time.Since(began), patience)
	var f figures
	require.NoError(t, json.Unmarshal(out.Bytes(), &f), out.String())
	require.Positive(t, f.Placed)
	require.Zero(t, f.Errors)

	s.refuses(t, "--users is 1,", "demo", "--users", "1")
	elsewhere := sqliteSite(t)
	elsewhere.refuses(t, "give --first-admin-token, or --admin-email and --admin-password-file", "demo", "--url", v.url)
	o := s.do(t, "demo", "--url", "http://127.0.0.1:1")
	require.Equal(t, 1, o.code)
	require.Contains(t, o.err, "no server answers at http://127.0.0.1:1")
}
