package journey_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// marked are the blocks of the README that a reader pastes.
var marked = regexp.MustCompile("(?s)<!-- journey -->\\s*```bash\n(.*?)```")

// TestREADME pastes the journey of the README into a shell, beside a server
// that was started as the README says, but for its port.
func TestREADME(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	var script strings.Builder
	for _, block := range marked.FindAllSubmatch(readme, -1) {
		script.Write(block[1])
	}
	require.NotEmpty(t, script.String(), "README.md has no ```bash block below <!-- journey -->")
	for _, program := range []string{"bash", "curl"} {
		_, err := exec.LookPath(program)
		require.NoError(t, err, "the README's journey needs %[1]s: install the package %[1]s", program)
	}

	folder := t.TempDir()
	s := sqliteSite(t)
	s.dir = filepath.Join(folder, "data")
	s.env = []string{"CLEAVE_HTTP_ADDR=127.0.0.1:0", "CLEAVE_DATA_DIR=" + s.dir}
	v := s.serve(t)
	const written = "http://127.0.0.1:8080"
	require.Contains(t, script.String(), written)
	cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail")
	cmd.Dir = folder
	cmd.Stdin = strings.NewReader(strings.ReplaceAll(script.String(), written, v.url))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NotContains(t, string(out), "/problems/", "the server has refused something")
	require.Regexp(t, `(?m)^confirmed$|"status":"confirmed"`, string(out))
	require.Contains(t, string(out), `"kind":"confirmed"`)
}
