package security_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSecurityMap looks for every file and every test that docs/security.md names, so that it cannot name what is gone.
func TestSecurityMap(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..")
	text, err := os.ReadFile(filepath.Join(root, "docs", "security.md"))
	require.NoError(t, err)
	tests := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func (Test\w+|Fuzz\w+)\(`)
	for _, dir := range []string{"cmd", "modules", "platform", "test"} {
		require.NoError(t, filepath.WalkDir(filepath.Join(root, dir), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, "_test.go") {
				return err
			}
			source, err := os.ReadFile(path)
			for _, found := range declared.FindAllStringSubmatch(string(source), -1) {
				tests[found[1]] = true
			}
			return err
		}))
	}
	named := regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w*(…)?`).FindAllStringSubmatch(string(text), -1)
	require.Greater(t, len(named), 50)
	for _, n := range named {
		name := strings.TrimSuffix(n[0], "…")
		found := tests[name]
		for test := range tests {
			found = found || n[1] != "" && strings.HasPrefix(test, name)
		}
		require.True(t, found, "docs/security.md names %s, which is no test", n[0])
	}
	paths := regexp.MustCompile("`((?:cmd|docs|modules|platform|test|tools)/[a-z0-9_./-]+)`").FindAllStringSubmatch(string(text), -1)
	require.Greater(t, len(paths), 50)
	for _, p := range paths {
		_, err := os.Stat(filepath.Join(root, p[1]))
		require.NoError(t, err, "docs/security.md names it")
	}
}
