package mail

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFolder_Forget(t *testing.T) {
	t.Parallel()
	from, err := ParseFrom("Shop <no-reply@shop.example>")
	require.NoError(t, err)
	dir := filepath.Join(t.TempDir(), "mail")
	f := NewFolder(dir, from)
	require.NoError(t, f.Forget("ada@example.org"), "there is no folder yet")
	one, two := letter("one"), letter("two")
	two.To.Email = "Other." + one.To.Email
	require.NoError(t, f.Send(t.Context(), one))
	require.NoError(t, f.Send(t.Context(), two))
	require.NoError(t, f.Forget("ADA"+one.To.Email[len("ada"):]))
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, files, 1)
	require.Equal(t, fileName(two), files[0].Name())
}
