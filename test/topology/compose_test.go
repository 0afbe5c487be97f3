package topology_test

import (
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"cleave/test/harness"
)

// TestCompose checks the settings and flags of deploy/compose.yaml with the program itself. Docker is not run.
func TestCompose(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../deploy/compose.yaml")
	require.NoError(t, err)
	var file struct {
		Services map[string]struct {
			Image       string
			Profiles    []string
			Command     []string
			Environment map[string]string
			DependsOn   map[string]any `yaml:"depends_on"`
		}
	}
	require.NoError(t, yaml.Unmarshal(text, &file))
	profiles := map[string][]string{}
	for name, service := range file.Services {
		for _, other := range service.Profiles {
			profiles[other] = append(profiles[other], name)
		}
		if service.Image != "cleave" {
			continue
		}
		var env []string
		for key, value := range service.Environment {
			env = append(env, key+"="+value)
		}
		args := []string{"doctor"} // refuses what serve refuses, and finds no process here
		if len(service.Command) > 0 {
			require.Equal(t, "serve", service.Command[0], name)
			args = append(args, service.Command[1:]...)
		}
		cmd := harness.Command(binary, append(env, "CLEAVE_HTTP_ADDR=127.0.0.1:1"), args...)
		out, _ := cmd.CombinedOutput() // the code says it all
		require.Equal(t, 1, cmd.ProcessState.ExitCode(), "%s: %s", name, out)
		require.Contains(t, string(out), "configuration  ok", name)
		for other := range service.DependsOn {
			require.Contains(t, file.Services, other, name)
		}
	}
	for _, list := range profiles {
		slices.Sort(list)
	}
	require.Equal(t, map[string][]string{
		"one": {"cleave"}, "order": {"nats", "order-alone", "postgres", "rest"}, "all": {"gateway", "nats", "notification", "order", "postgres", "user"},
	}, profiles)
}
