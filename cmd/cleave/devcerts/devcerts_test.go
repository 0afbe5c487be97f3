package devcerts

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func run(args ...string) (string, error) {
	var out bytes.Buffer
	c := Command()
	c.SilenceErrors, c.SilenceUsage = true, true
	c.SetOut(&out)
	c.SetArgs(args)
	err := c.Execute()
	return out.String(), err
}

func TestCommand(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "certs")
	out, err := run("--out", dir, "--domain", "shop.example", "order=order", "rest=user,notification", "gateway=")
	require.NoError(t, err)
	for _, id := range []string{"modules/order\n", "modules/user/notification\n", "gateway\n"} {
		require.Contains(t, out, "spiffe://shop.example/"+id)
	}
	for _, name := range []string{"ca", "order", "rest", "gateway"} {
		require.FileExists(t, filepath.Join(dir, name+".crt"))
		require.FileExists(t, filepath.Join(dir, name+".key"))
	}
}

func TestCommand_Refuses(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "certs")
	for want, args := range map[string][]string{
		`"order": want NAME=`:               {"order"},
		`module name ""`:                    {"order=order,"},
		`module name " user"`:               {"order=order, user"},
		`process name "ca"`:                 {"ca=order"},
		"two processes are named order":     {"order=order", "order=user"},
		"has the module order twice":        {"good=user", "order=order,order"},
		`trust domain "Shop"`:               {"order=order", "--domain", "Shop"},
		"requires at least 1 arg":           {},
		`process name "../x": want lower-c`: {"../x=order"},
	} {
		_, err := run(append([]string{"--out", dir}, args...)...)
		require.ErrorContains(t, err, want)
	}
	_, err := os.Stat(dir)
	require.ErrorIs(t, err, os.ErrNotExist, "nothing is written")
}
