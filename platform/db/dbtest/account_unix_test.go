//go:build unix

package dbtest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEveryoneEnters(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open, closed := filepath.Join(dir, "open"), filepath.Join(dir, "closed")
	require.NoError(t, os.MkdirAll(filepath.Join(closed, "below"), 0o700))
	require.NoError(t, os.Mkdir(open, 0o700))
	require.NoError(t, os.Chmod(open, 0o711))
	require.NoError(t, os.Chmod(filepath.Join(closed, "below"), 0o755))
	require.Equal(t, everyoneEnters(dir), everyoneEnters(open))
	require.False(t, everyoneEnters(closed))
	require.False(t, everyoneEnters(filepath.Join(closed, "below")), "its parent is closed")
	require.False(t, everyoneEnters(filepath.Join(dir, "missing")))
	require.True(t, everyoneEnters("/"))
}
