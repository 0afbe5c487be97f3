package openapi_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"cleave/cmd/cleave/openapi"
)

func TestOpenAPI(t *testing.T) {
	t.Parallel()
	run := func(documents ...string) error {
		c := openapi.Command()
		c.SilenceErrors, c.SilenceUsage = true, true
		c.SetArgs(documents)
		return c.Execute()
	}
	dir := t.TempDir()
	document := filepath.Join(dir, "openapi.yaml")
	require.NoError(t, os.WriteFile(document, []byte("# said once\nopenapi: 3.0.3\nx: &a\n  on: \"2026-01-02\"\n  n: 9007199254740991\ny: *a\n"), 0o600))
	require.NoError(t, run(document))
	json, err := os.ReadFile(filepath.Join(dir, "openapi.json"))
	require.NoError(t, err)
	require.JSONEq(t, `{"openapi":"3.0.3","x":{"on":"2026-01-02","n":9007199254740991},"y":{"on":"2026-01-02","n":9007199254740991}}`, string(json))
	require.Contains(t, string(json), "9007199254740991")

	require.ErrorContains(t, run(), "at least 1 arg")
	require.ErrorContains(t, run(filepath.Join(dir, "openapi.json")), "is not a .yaml file")
	require.ErrorIs(t, run(filepath.Join(dir, "absent.yaml")), os.ErrNotExist)
	require.NoError(t, os.WriteFile(document, []byte("a: ["), 0o600))
	require.ErrorContains(t, run(document), "openapi.yaml")
}
