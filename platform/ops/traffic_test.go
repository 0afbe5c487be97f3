package ops_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"cleave/platform/traffic"
)

func TestTraffic(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *world) {
		w.failed(t, "t1")
		admin := w.as(t, "admin")
		admin.send(t, "GET", "lag", nil)
		r := admin.send(t, "GET", "/api/v1/admin/process/traffic", nil)
		require.Equal(t, 200, r.status, "%s", r.body)
		var s traffic.Snapshot
		require.NoError(t, json.Unmarshal(r.body, &s))
		require.Equal(t, []string{"shop"}, s.Modules)
		require.Equal(t, "inproc", s.Pipe)
		require.Positive(t, s.CPU)
		require.True(t, s.At.After(s.Since))
		runs := func(kind traffic.Kind, module, name string) int64 {
			i := slices.IndexFunc(s.Sources, func(a traffic.Activity) bool { return a.Kind == kind && a.Module == module && a.Name == name })
			require.GreaterOrEqual(t, i, 0, "%s %s.%s in %s", kind, module, name, r.body)
			return s.Sources[i].Runs
		}
		require.EqualValues(t, 1, runs(traffic.Operation, "ops", "getLag"))
		require.EqualValues(t, 1, runs(traffic.Saga, "shop", "trip"))
		require.Empty(t, s.Calls, "a module alone calls nobody")
	})
}
