package arch

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cleave/platform/arch/archtest"
)

// TestRules plants each archive of testdata into the real modules.
func TestRules(t *testing.T) {
	t.Parallel()
	w := setup(t)
	require.Empty(t, Violations(Check(w).Findings), "the real modules are innocent")
	for _, p := range archtest.Plants(t, "testdata") {
		t.Run(p.Name, func(t *testing.T) {
			t.Parallel()
			files := p.Files(t, w.Root)
			planted := plant(t, w, files)
			require.Empty(t, planted.Problems, "what is planted must compile")
			got := map[string][]string{}
			for _, f := range Check(planted).Findings {
				if f.Waived == "" && (!f.Rule.Note || strings.HasPrefix(p.Name, f.Rule.Name)) {
					got[f.Pos.Filename] = append(got[f.Pos.Filename], fmt.Sprintf("%d %s", f.Pos.Line, f.Rule.Name))
				}
			}
			for _, file := range slices.Sorted(maps.Keys(files)) {
				t.Run(file, func(t *testing.T) {
					require.ElementsMatch(t, archtest.Wanted(files[file]), slices.Compact(got[file]))
				})
				delete(got, file)
			}
			require.Empty(t, got, "what was there before is innocent")
		})
	}
}

// TestEveryRuleIsPlanted keeps the promise of docs/boundaries.md: several
// violations per rule, and as many innocent look-alikes.
func TestEveryRuleIsPlanted(t *testing.T) {
	t.Parallel()
	planted := map[string]int{}
	guilty, innocent := 0, 0
	for _, p := range archtest.Plants(t, "testdata") {
		byRule, lookAlikes := p.Count()
		for rule, n := range byRule {
			planted[rule] += n
			guilty += n
		}
		innocent += lookAlikes
	}
	for _, r := range Rules() {
		if r.Name != baselineRule { // baseline_test.go
			require.GreaterOrEqual(t, planted[r.Name], 2, "violations of %s", r.Name)
		}
		delete(planted, r.Name)
	}
	require.Empty(t, planted, "no such rules")
	t.Logf("%d violations and %d innocent look-alikes are planted", guilty, innocent)
	require.GreaterOrEqual(t, guilty, 40)
	require.GreaterOrEqual(t, innocent, guilty)
}

// TestDocumented holds docs/boundaries.md to the rules and to the archives.
func TestDocumented(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("../../docs/boundaries.md")
	require.NoError(t, err)
	text := string(content)
	at := 0
	for _, r := range Rules() {
		section := strings.Index(text, "\n### "+r.Name+"\n")
		require.Greater(t, section, at, "the section of %s, in the order of Rules", r.Name)
		at = section
	}
	for _, p := range archtest.Plants(t, "testdata") {
		require.Contains(t, text, "`"+p.Name+"`", "the archive")
	}
}
