package dbtest

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPrograms(t *testing.T) {
	t.Parallel()
	empty, complete := t.TempDir(), t.TempDir()
	for _, name := range []string{"initdb", "postgres"} {
		require.NoError(t, os.WriteFile(filepath.Join(complete, name), nil, 0o700))
	}
	require.NoError(t, os.WriteFile(filepath.Join(empty, "initdb"), nil, 0o700)) // only one of the two
	fetched := func() (string, error) { return "fetched", nil }
	bin, err := programs([]string{empty, complete}, fetched)
	require.NoError(t, err)
	require.Equal(t, complete, bin)
	bin, err = programs([]string{empty}, fetched)
	require.NoError(t, err)
	require.Equal(t, "fetched", bin)
	_, err = programs(nil, func() (string, error) { return "", errors.New("no network") })
	for _, part := range []string{"no network", "apt-get install postgresql", "CLEAVE_TEST_POSTGRES=postgres://"} {
		require.ErrorContains(t, err, part)
	}
}
