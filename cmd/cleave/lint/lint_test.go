package lint_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cleave/cmd/cleave/lint"
)

// setup copies the real modules, with what they stand on, into a folder.
func setup(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for _, name := range []string{"go.mod", "go.sum", "modules", "platform", "cmd/app"} {
		copyTree(t, filepath.Join("..", "..", "..", name), filepath.Join(root, name))
	}
	return root
}

func copyTree(t *testing.T, from, to string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		write(t, filepath.Join(to, rel), string(content))
		return nil
	}))
}

func write(t *testing.T, name, text string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
	require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
}

// run is cleave lint on the tree at root.
func run(t *testing.T, root string, args ...string) (string, error) {
	t.Helper()
	c := lint.Command()
	var out bytes.Buffer
	c.SetOut(&out)
	c.SetErr(&out)
	c.SilenceErrors, c.SilenceUsage = true, true
	c.SetArgs(append([]string{"--dir", root}, args...))
	err := c.ExecuteContext(t.Context())
	return out.String(), err
}

const (
	clock  = "package app\n\nimport \"time\"\n\nvar planted = time.Now\n\nvar _ = planted\n"
	reader = "package store\n\nconst planted = \"SELECT id FROM users WHERE id = ?\"\n\nvar _ = planted\n"
)

func TestFormats(t *testing.T) {
	t.Parallel()
	root := setup(t)
	write(t, filepath.Join(root, "modules/order/internal/app/planted.go"), clock)
	write(t, filepath.Join(root, "modules/user/internal/app/waived.go"),
		strings.Replace(clock, "time.Now\n", "time.Now //cleave:allow direct-clock it measures, 100%\n", 1))

	t.Run("Text", func(t *testing.T) {
		out, err := run(t, root)
		var found *lint.FoundError
		require.ErrorAs(t, err, &found)
		require.Equal(t, 1, found.Count)
		require.Contains(t, out, "modules/order/internal/app/planted.go:5: direct-clock: module order uses time.Now\n\twhy: ")
		require.Contains(t, out, "\tfix: use Env.Now")
		require.Contains(t, out, "1 violations, 0 notes, 1 waived, 0 in the baseline")
	})
	t.Run("JSON", func(t *testing.T) {
		out, err := run(t, root, "--format", "json")
		require.Error(t, err)
		var findings []struct {
			Rule, Level, File, Waiver string
			Line                      int
		}
		require.NoError(t, json.Unmarshal([]byte(out), &findings))
		require.Len(t, findings, 2)
		require.Equal(t, "error modules/order/internal/app/planted.go", findings[0].Level+" "+findings[0].File)
		require.Equal(t, "waived it measures, 100%", findings[1].Level+" "+findings[1].Waiver)
	})
	t.Run("SARIF", func(t *testing.T) {
		out, err := run(t, root, "--format", "sarif")
		require.Error(t, err)
		var log struct {
			Version string
			Runs    []struct {
				Tool struct {
					Driver struct{ Rules []struct{ ID string } }
				}
				Results []struct {
					RuleID    string
					Locations []struct {
						PhysicalLocation struct{ Region struct{ StartLine int } }
					}
					Suppressions []struct{ Kind, Justification string }
				}
			}
		}
		require.NoError(t, json.Unmarshal([]byte(out), &log))
		require.Equal(t, "2.1.0", log.Version)
		require.Greater(t, len(log.Runs[0].Tool.Driver.Rules), 20)
		require.Len(t, log.Runs[0].Results, 2)
		require.Equal(t, 5, log.Runs[0].Results[0].Locations[0].PhysicalLocation.Region.StartLine)
		require.Empty(t, log.Runs[0].Results[0].Suppressions)
		require.Equal(t, "inSource", log.Runs[0].Results[1].Suppressions[0].Kind)
	})
	t.Run("GitHub", func(t *testing.T) {
		out, err := run(t, root, "--format", "github")
		require.Error(t, err)
		require.True(t, strings.HasPrefix(out, "::error file=modules/order/internal/app/planted.go,line=5,col=20,title=direct-clock::module order uses time.Now%0Awhy: "), out)
		require.Equal(t, 1, strings.Count(out, "\n"))
	})
	t.Run("Unknown", func(t *testing.T) {
		_, err := run(t, root, "--format", "xml")
		require.ErrorContains(t, err, "--format xml is none of")
	})
	t.Run("Waivers", func(t *testing.T) {
		out, err := run(t, root, "--waivers")
		require.NoError(t, err)
		require.Equal(t, "modules/user/internal/app/waived.go:5: direct-clock: it measures, 100%\n1 waivers\n", out)
	})
	t.Run("Packages", func(t *testing.T) {
		_, err := run(t, root, "./modules/user/...", "./platform/...")
		require.NoError(t, err)
		_, err = run(t, root, "modules/order/internal/app")
		require.Error(t, err)
		_, err = run(t, root, "./modules/order")
		require.NoError(t, err)
		_, err = run(t, root, "./...")
		require.Error(t, err)
	})
}

func TestBaseline(t *testing.T) {
	t.Parallel()
	root := setup(t)
	baseline := filepath.Join(root, "baseline.txt")
	planted := filepath.Join(root, "modules/order/internal/app/planted.go")
	write(t, planted, clock)

	_, err := run(t, root, "--baseline", baseline)
	require.ErrorContains(t, err, "read the baseline")
	_, err = run(t, root, "--baseline", baseline, "--write-baseline")
	require.NoError(t, err)
	out, err := run(t, root, "--baseline", baseline)
	require.NoError(t, err)
	require.Contains(t, out, "baseline: 1 known violations\n0 violations, 0 notes, 0 waived, 1 in the baseline\n")

	write(t, planted, strings.Replace(clock, "time.Now", "time.Unix", 1))
	out, err = run(t, root, "--baseline", baseline)
	require.Error(t, err)
	require.Contains(t, out, "baseline.txt:2: baseline: this no longer occurs: direct-clock modules/order/internal/app/planted.go: module order uses time.Now")
}

func TestSince(t *testing.T) {
	t.Parallel()
	root := setup(t)
	git := func(args ...string) {
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-C", root, "-c", "user.name=x", "-c", "user.email=x@example.org"}, args...)...)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	write(t, filepath.Join(root, "modules/order/internal/app/planted.go"), clock)
	write(t, filepath.Join(root, "modules/notification/internal/app/planted.go"), clock)
	write(t, filepath.Join(root, "baseline.txt"), "")
	git("init", "-q", "-b", "main")
	git("add", ".")
	git("commit", "-q", "-m", "before")

	t.Run("NothingChanged", func(t *testing.T) {
		_, err := run(t, root, "--since", "main")
		require.NoError(t, err)
	})
	t.Run("ChangedModule", func(t *testing.T) {
		added := filepath.Join(root, "modules/notification/internal/app/added.go")
		write(t, added, "package app\n")
		out, err := run(t, root, "--since", "main")
		require.Error(t, err)
		require.Contains(t, out, "modules/notification/internal/app/planted.go:5")
		require.NotContains(t, out, "modules/order")
		require.NoError(t, os.Remove(added))
	})
	t.Run("Dependants", func(t *testing.T) {
		added := filepath.Join(root, "modules/user/internal/app/added.go")
		write(t, added, "package app\n")
		out, err := run(t, root, "--since", "main")
		require.Error(t, err)
		require.Contains(t, out, "modules/order/internal/app/planted.go:5", "order calls user")
		require.Contains(t, out, "modules/notification/internal/app/planted.go:5", "notification hears user")
		require.NoError(t, os.Remove(added))
	})
	t.Run("BaselineMayNotGrow", func(t *testing.T) {
		baseline := filepath.Join(root, "baseline.txt")
		_, err := run(t, root, "--baseline", baseline, "--write-baseline")
		require.NoError(t, err)
		out, err := run(t, root, "--baseline", baseline, "--since", "main")
		require.Error(t, err)
		require.Contains(t, out, "the baseline may not grow: direct-clock")
		require.Contains(t, out, "baseline: 2 known violations, 0 in main (+2)")
	})
	t.Run("UnknownRevision", func(t *testing.T) {
		_, err := run(t, root, "--since", "nowhere")
		require.ErrorContains(t, err, "nowhere")
	})
}

func TestBroken(t *testing.T) {
	t.Parallel()
	root := setup(t)
	write(t, filepath.Join(root, "modules/order/internal/store/planted.go"), reader+"\nvar x int = \"\"\n")
	out, err := run(t, root)
	require.Error(t, err)
	require.Contains(t, out, "planted.go:3: foreign-table", "what compiles is checked all the same")
	_, err = run(t, t.TempDir())
	require.ErrorContains(t, err, "there is no go.mod")
}
