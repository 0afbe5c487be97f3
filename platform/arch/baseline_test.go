package arch

import (
	"context"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func found(rule, file string, line int, message string) Finding {
	return Finding{Rule: ruleNamed(rule), Pos: token.Position{Filename: file, Line: line}, Message: message}
}

func TestBaseline(t *testing.T) {
	t.Parallel()
	findings := func() []Finding {
		return []Finding{
			found("layer", "modules/a/x.go", 3, "a imports gorm"),
			found("layer", "modules/a/x.go", 9, "a imports gorm"),
			found("spec", "modules/b/module.go", 1, "b has no Spec"),
			found("event-cycle", "modules/b/module.go", 1, "a note"),
		}
	}
	adopted := NewBaseline(findings())

	t.Run("Adopted", func(t *testing.T) {
		t.Parallel()
		b := ParseBaseline("baseline", adopted)
		require.Equal(t, 3, b.Len(), "a note is no violation")
		all := findings()
		require.Empty(t, b.Apply(all, nil))
		require.Empty(t, Violations(all))
	})
	t.Run("LinesMove", func(t *testing.T) {
		t.Parallel()
		all := findings()
		all[0].Pos.Line = 99
		require.Empty(t, ParseBaseline("baseline", adopted).Apply(all, nil))
		require.Empty(t, Violations(all))
	})
	t.Run("OneMore", func(t *testing.T) {
		t.Parallel()
		all := append(findings(), found("layer", "modules/a/x.go", 12, "a imports gorm"))
		require.Empty(t, ParseBaseline("baseline", adopted).Apply(all, nil))
		require.Len(t, Violations(all), 1, "each entry allows one")
	})
	t.Run("Mended", func(t *testing.T) {
		t.Parallel()
		wrong := ParseBaseline("baseline", adopted).Apply(findings()[1:], nil)
		require.Len(t, wrong, 1)
		require.Equal(t, "this no longer occurs: layer modules/a/x.go: a imports gorm", wrong[0].Message)
		require.Equal(t, 3, wrong[0].Pos.Line)
		require.Len(t, Violations(wrong), 1)
	})
	t.Run("Grown", func(t *testing.T) {
		t.Parallel()
		before := ParseBaseline("baseline", NewBaseline(findings()[1:]))
		wrong := ParseBaseline("baseline", adopted).Apply(findings(), before)
		require.Len(t, wrong, 1)
		require.Equal(t, "the baseline may not grow: layer modules/a/x.go: a imports gorm", wrong[0].Message)
	})
	t.Run("Waived", func(t *testing.T) {
		t.Parallel()
		all := findings()
		all[2].Waived = "because"
		require.Len(t, ParseBaseline("baseline", adopted).Apply(all, nil), 1, "what a waiver allows needs no entry")
	})
}

func TestAffected(t *testing.T) {
	t.Parallel()
	all := []*Module{
		{Name: "a", Uses: []Edge{{To: "b"}}},
		{Name: "b"},
		{Name: "c", Subscribes: []EventRef{{Module: "b"}}},
		{Name: "d", Uses: []Edge{{To: "a"}}},
	}
	names := func(files ...string) []string {
		var names []string
		for _, m := range Affected(all, files) {
			names = append(names, m.Name)
		}
		return names
	}
	require.Equal(t, []string{"a", "b", "c"}, names("modules/b/internal/app/x.go"), "d sees a alone, which has not changed")
	require.Equal(t, []string{"a", "d"}, names("modules/a/module.go"))
	require.Empty(t, names("README.md", "docs/x.md", "test/journey/x.go"))
	require.Len(t, names("platform/db/tx.go"), 4)
	require.Len(t, names("go.mod"), 4)
}

func TestChangedFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	run := func(args ...string) {
		cmd := exec.Command("git", append([]string{"-c", "user.name=x", "-c", "user.email=x@example.org"}, args...)...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	write := func(name, text string) {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	run("init", "-q", "-b", "main")
	write("kept.go", "1")
	write("changed.go", "1")
	write("moved.go", "a file that is moved elsewhere")
	write("base", "one\n")
	run("add", ".")
	run("commit", "-q", "-m", "one")
	run("checkout", "-q", "-b", "topic")
	write("changed.go", "2")
	run("mv", "moved.go", "there.go")
	write("base", "one\ntwo\n")
	run("commit", "-q", "-a", "-m", "two")
	write("new/file.go", "1")
	run("checkout", "-q", "main")
	write("later.go", "what main did later")
	run("add", "later.go")
	run("commit", "-q", "-m", "three")
	run("checkout", "-q", "topic")

	files, err := ChangedFiles(context.Background(), dir, "main")
	require.NoError(t, err)
	require.Equal(t, []string{"base", "changed.go", "moved.go", "new/file.go", "there.go"}, files)
	_, err = ChangedFiles(context.Background(), dir, "nowhere")
	require.ErrorContains(t, err, "nowhere")

	old, err := FileAt(context.Background(), dir, "main", "base")
	require.NoError(t, err)
	require.Equal(t, "one\n", string(old))
	old, err = FileAt(context.Background(), dir, "main", "there.go")
	require.NoError(t, err)
	require.Nil(t, old)
	_, err = FileAt(context.Background(), dir, "nowhere", "base")
	require.Error(t, err)
}
