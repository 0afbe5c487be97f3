package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cleave/platform/arch/archtest"
)

var tool string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "cleave")
	if err != nil {
		panic(err)
	}
	tool = filepath.Join(dir, "cleave")
	build := exec.Command("go", "build", "-o", tool, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		panic(string(out))
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// setup copies the real modules, with what they stand on, and plants files.
func setup(t *testing.T, p archtest.Plant) (root string, planted map[string]string) {
	t.Helper()
	root = t.TempDir()
	for _, name := range []string{"go.mod", "go.sum", "modules", "platform", "cmd/app"} {
		require.NoError(t, copyTree(filepath.Join("..", "..", name), filepath.Join(root, name)))
	}
	planted = p.Files(t, root)
	for name, text := range planted {
		require.NoError(t, write(filepath.Join(root, name), []byte(text)))
	}
	return root, planted
}

func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || err == nil && d.IsDir() {
			return nil
		}
		if err != nil {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return write(filepath.Join(to, strings.TrimPrefix(path, from)), content)
	})
}

func write(name string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, content, 0o600)
}

// TestLint plants into a copy of the real modules and runs the real command.
// The rules test plants the others without a copy.
func TestLint(t *testing.T) {
	t.Parallel()
	few := []string{"foreign-import", "foreign-table-far", "events", "untranslated-error", "call-cycle", "edges-far"}
	for _, p := range archtest.Plants(t, "../../platform/arch/testdata") {
		if !slices.Contains(few, p.Name) {
			continue
		}
		t.Run(p.Name, func(t *testing.T) {
			t.Parallel()
			root, planted := setup(t, p)
			cmd := exec.CommandContext(t.Context(), tool, "lint", "--format", "json")
			cmd.Dir = root
			out, err := cmd.Output()
			var exit *exec.ExitError
			require.ErrorAs(t, err, &exit)
			require.Equal(t, 1, exit.ExitCode(), "%s", exit.Stderr)
			var findings []struct {
				Rule, Level, File string
				Line              int
			}
			require.NoError(t, json.Unmarshal(out, &findings))
			got := map[string][]string{}
			for _, f := range findings {
				if f.Level == "error" {
					got[f.File] = append(got[f.File], fmt.Sprintf("%d %s", f.Line, f.Rule))
				}
			}
			for name, text := range planted {
				require.ElementsMatch(t, archtest.Wanted(text), slices.Compact(got[name]), name)
				delete(got, name)
			}
			require.Empty(t, got)
		})
	}
}

// TestVet runs the tool under go vet, on a package that needs little.
func TestVet(t *testing.T) {
	t.Parallel()
	for _, p := range archtest.Plants(t, "../../platform/arch/testdata") {
		if p.Name != "direct-clock" {
			continue
		}
		root, planted := setup(t, p)
		cmd := exec.CommandContext(t.Context(), "go", "vet", "-vettool="+tool, "./modules/order/internal/domain")
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		out, err := cmd.CombinedOutput()
		require.Error(t, err)
		const name = "modules/order/internal/domain/planted.gen.go"
		want := archtest.Wanted(planted[name])
		require.Len(t, want, 1)
		line, rule, _ := strings.Cut(want[0], " ")
		require.Regexp(t, "planted.gen.go:"+line+`:\d+: `+rule+": ", string(out))
		require.Equal(t, 1, strings.Count(string(out), rule), "%s", out)
	}
}

// TestClean holds the repository itself to its rules.
func TestClean(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), tool, "lint", "--dir", "../..").CombinedOutput()
	require.NoError(t, err, "%s", out)
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"lint", "--format", "xml"}, {"lint", "--dir", t.TempDir()}, {"nothing"}} {
		err := exec.CommandContext(t.Context(), tool, args...).Run()
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit)
		require.Equal(t, 2, exit.ExitCode(), args)
	}
}
