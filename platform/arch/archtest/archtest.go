// Package archtest reads what platform/arch/testdata holds: violations of the
// boundary rules and innocent look-alikes, to be planted into the real modules.
//
// An archive has files to add, and files NAME.edit with lines "- old" and
// "+ new" that change a real one (⏎ is the end of a line). A line that ends in
// "want RULE…" must be reported by these rules; "want RULE below" is about the
// next line. Every other line is innocent, and those that look guilty say so:
// "innocent: why".
package archtest

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"
)

// Plant is one archive.
type Plant struct {
	Name    string
	Archive *txtar.Archive
}

// Plants reads the archives in a folder.
func Plants(t *testing.T, dir string) []Plant {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	require.NoError(t, err)
	require.NotEmpty(t, names)
	plants := make([]Plant, len(names))
	for i, name := range names {
		archive, err := txtar.ParseFile(name)
		require.NoError(t, err)
		plants[i] = Plant{Name: strings.TrimSuffix(filepath.Base(name), ".txtar"), Archive: archive}
	}
	return plants
}

// Files are the planted files, with edits carried out on those of the Go module
// at root.
func (p Plant) Files(t *testing.T, root string) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, f := range p.Archive.Files {
		name, isEdit := strings.CutSuffix(f.Name, ".edit")
		if !isEdit {
			require.NoFileExists(t, filepath.Join(root, name))
			files[name] = string(f.Data)
			continue
		}
		content, err := os.ReadFile(filepath.Join(root, name))
		require.NoError(t, err)
		files[name] = edit(t, name, string(content), string(f.Data))
	}
	return files
}

func edit(t *testing.T, name, text, script string) string {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(script, "\n"), "\n")
	for i := 0; i+1 < len(lines); i += 2 {
		old := strings.TrimPrefix(lines[i], "- ")
		replacement := strings.ReplaceAll(strings.TrimPrefix(lines[i+1], "+ "), "⏎", "\n")
		require.Equal(t, 1, strings.Count(text, old), "%s must have %q once", name, old)
		text = strings.Replace(text, old, replacement, 1)
	}
	return text
}

var want = regexp.MustCompile(`(?:// |-- |# )want ([a-z -]+?)( below)?$`)

// Wanted are the findings that a text asks for, each as "LINE RULE".
func Wanted(text string) []string {
	var all []string
	for i, line := range strings.Split(text, "\n") {
		m := want.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		rules := strings.Fields(m[1])
		slices.Sort(rules)
		for _, rule := range rules {
			all = append(all, fmt.Sprintf("%d %s", i+1+min(len(m[2]), 1), rule))
		}
	}
	return all
}

// Count counts the violations by rule, and the look-alikes.
func (p Plant) Count() (guilty map[string]int, innocent int) {
	guilty = map[string]int{}
	for _, f := range p.Archive.Files {
		text := strings.ReplaceAll(string(f.Data), "⏎", "\n")
		for _, w := range Wanted(text) {
			_, rule, _ := strings.Cut(w, " ")
			guilty[rule]++
		}
		innocent += strings.Count(text, "// innocent:") + strings.Count(text, "-- innocent:")
	}
	return guilty, innocent
}
