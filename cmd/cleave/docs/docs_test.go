package docs

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFaults(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write := func(name, source string) {
		path := filepath.Join(root, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(source), 0o600))
	}
	write("platform/a/a.go", `package a
var (
	x = fault.New(fault.Conflict, "taken", "it is taken by %s", who)
	y = fault.New(fault.Internal, "", "no code of its own")
	z = fault.New(kind, code, "computed")
	w = errors.New("no fault")
)`)
	write("platform/a/a_test.go", `package a
var t = fault.New(fault.Invalid, "only_in_a_test", "text")`)
	write("modules/b/b.go", `package b
func f() error { return fault.New(fault.NotFound, "gone", "a | b").With(field) }`)
	all, err := Faults(root)
	require.NoError(t, err)
	require.Equal(t, []Fault{
		{Code: "gone", Kind: "NotFound", Message: "a | b", Package: "modules/b"},
		{Code: "taken", Kind: "Conflict", Message: "it is taken by %s", Package: "platform/a"},
	}, all)
	require.Contains(t, string(faultsPage(all)), `a \| b`)
}

func TestCompare(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	files := map[string][]byte{filepath.Join(folder, "a.md"): []byte("new")}
	require.ErrorContains(t, compare(files, root), "a.md is stale")
	require.NoError(t, write(files, root))
	require.NoError(t, compare(files, root))
	require.NoError(t, os.WriteFile(filepath.Join(root, folder, "old.md"), nil, 0o600))
	require.ErrorContains(t, compare(files, root), "old.md is written by nobody")
}

func TestWithMap(t *testing.T) {
	t.Parallel()
	readme := "# A\n" + mapBegin + "old\n" + mapEnd + "end\n"
	out, err := withMap([]byte(readme), "flowchart LR\n")
	require.NoError(t, err)
	require.Equal(t, "# A\n"+mapBegin+"```mermaid\nflowchart LR\n```\n"+mapEnd+"end\n", string(out))
	_, err = withMap([]byte("no marks"), "")
	require.Error(t, err)
}
