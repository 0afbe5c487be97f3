package arch

import (
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"
)

// TestRules plants what testdata holds into the real modules. Each archive has
// files to add, and files NAME.edit with lines "- old" and "+ new" that change
// a real one (⏎ is the end of a line). A line ends in "want RULE…" when the rules must report it; "want RULE below"
// is about the next line. Every other line is innocent.
func TestRules(t *testing.T) {
	t.Parallel()
	w := setup(t)
	archives, err := filepath.Glob("testdata/*.txtar")
	require.NoError(t, err)
	for _, name := range archives {
		archive, err := txtar.ParseFile(name)
		require.NoError(t, err)
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			t.Parallel()
			files := plants(t, w, archive)
			planted := plant(t, w, files)
			require.Empty(t, planted.Problems, "what is planted must compile")
			got := map[string][]string{}
			for _, f := range Check(planted).Findings {
				if f.Waived == "" && (!f.Rule.Note || strings.HasPrefix(filepath.Base(name), f.Rule.Name)) {
					got[f.Pos.Filename] = append(got[f.Pos.Filename], fmt.Sprintf("%d %s", f.Pos.Line, f.Rule.Name))
				}
			}
			for _, file := range slices.Sorted(maps.Keys(files)) {
				want := wanted(files[file])
				t.Run(file, func(t *testing.T) {
					require.ElementsMatch(t, want, slices.Compact(got[file]))
				})
				delete(got, file)
			}
			require.Empty(t, got, "what was there before is innocent")
		})
	}
}

// plants are the files of an archive, with edits carried out.
func plants(t *testing.T, w *World, archive *txtar.Archive) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, f := range archive.Files {
		name, isEdit := strings.CutSuffix(f.Name, ".edit")
		if !isEdit {
			_, err := fs.Stat(w.files, name)
			require.ErrorIs(t, err, fs.ErrNotExist, "%s is a real file", name)
			files[name] = string(f.Data)
			continue
		}
		text := readReal(t, w, name)
		lines := strings.Split(strings.TrimSuffix(string(f.Data), "\n"), "\n")
		for i := 0; i+1 < len(lines); i += 2 {
			old, replacement := strings.TrimPrefix(lines[i], "- "), strings.ReplaceAll(strings.TrimPrefix(lines[i+1], "+ "), "⏎", "\n")
			require.Equal(t, 1, strings.Count(text, old), "%s must have %q once", name, old)
			text = strings.Replace(text, old, replacement, 1)
		}
		files[name] = text
	}
	return files
}

var want = regexp.MustCompile(`(?:// |-- |# )want ([a-z -]+?)( below)?$`)

// wanted are the findings that a file asks for.
func wanted(text string) []string {
	var all []string
	for i, line := range strings.Split(text, "\n") {
		if m := want.FindStringSubmatch(line); m != nil {
			rules := strings.Fields(m[1])
			slices.Sort(rules)
			for _, rule := range rules {
				all = append(all, fmt.Sprintf("%d %s", i+1+min(len(m[2]), 1), rule))
			}
		}
	}
	return all
}

// TestEveryRuleIsPlanted keeps the promise of docs/boundaries.md: several
// violations per rule and as many innocent look-alikes.
func TestEveryRuleIsPlanted(t *testing.T) {
	t.Parallel()
	planted := map[string]int{}
	guilty, innocent := 0, 0
	archives, err := filepath.Glob("testdata/*.txtar")
	require.NoError(t, err)
	for _, name := range archives {
		archive, err := txtar.ParseFile(name)
		require.NoError(t, err)
		for _, f := range archive.Files {
			wants := wanted(strings.ReplaceAll(string(f.Data), "⏎", "\n"))
			for _, w := range wants {
				_, rule, _ := strings.Cut(w, " ")
				planted[rule]++
			}
			switch {
			case strings.Contains(f.Name, "innocent"):
				require.Empty(t, wants, "%s in %s", f.Name, name)
				innocent += strings.Count(string(f.Data), "// innocent:") + strings.Count(string(f.Data), "-- innocent:")
			case len(wants) > 0:
				guilty += len(wants)
			}
		}
	}
	for _, r := range Rules() {
		if r.Name != baselineRule {
			require.GreaterOrEqual(t, planted[r.Name], 2, "violations of %s", r.Name)
		}
	}
	t.Logf("%d violations and %d innocent look-alikes are planted", guilty, innocent)
	require.GreaterOrEqual(t, guilty, 40)
	require.GreaterOrEqual(t, innocent, guilty)
}
