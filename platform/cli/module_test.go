package cli_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"cleave/platform/cli"
	"cleave/platform/module"
)

func TestModule(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	t.Run("List", func(t *testing.T) {
		t.Parallel()
		require.Regexp(t, `(?m)^note +0 +0 +1 +1$`, s.run(t, "module", "list").out)
	})
	t.Run("Describe", func(t *testing.T) {
		t.Parallel()
		got := s.run(t, "module", "describe", "note")
		require.Equal(t, cli.OK, got.code, got.err)
		require.Contains(t, got.out, "- Tables: `notes`")
		require.Contains(t, got.out, "`CLEAVE_MODULES_NOTE_COLOUR`")
	})
	t.Run("DescribeAll", func(t *testing.T) {
		t.Parallel()
		var all []module.Description
		require.NoError(t, json.Unmarshal([]byte(s.run(t, "module", "describe", "--output", "json").out), &all))
		require.Equal(t, "note", all[0].Name)
	})
	t.Run("Unknown", func(t *testing.T) {
		t.Parallel()
		got := s.run(t, "module", "describe", "nobody")
		require.Equal(t, cli.Usage, got.code)
		require.Contains(t, got.err, `no module "nobody"`)
	})
}

func TestReference(t *testing.T) {
	t.Parallel()
	out := newSetup(t).run(t, "reference").out
	require.Contains(t, out, "## app note fail\n")
	require.Contains(t, out, "app migrate down [flags]")
	require.NotContains(t, out, "completion")
}
