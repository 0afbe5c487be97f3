package moduletest

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"cleave/platform/config"
	"cleave/platform/faulttest"
	"cleave/platform/module"
)

// faultSeeds is how many plans EachFaulty runs on each database.
const faultSeeds = 3

// EachFaulty runs fn on each database with several plans, by which one in eight
// commits, calls and deliveries goes wrong. They are stopped while StartFaulty
// runs; fn starts its plan, and stops it when it has done enough.
func EachFaulty(t *testing.T, specs []module.Spec, fn func(t *testing.T, cfg *config.Config, plan *faulttest.Plan)) {
	t.Helper()
	for seed := range uint64(faultSeeds) {
		t.Run(fmt.Sprintf("seed%d", seed), func(t *testing.T) {
			Each(t, specs, func(t *testing.T, cfg *config.Config) {
				t.Parallel()
				plan := faulttest.New(faulttest.Options{Seed: seed, Rate: 0.125})
				plan.Stop()
				fn(t, cfg, plan)
				require.NotEmpty(t, plan.History(), "nothing has gone wrong")
			})
		})
	}
}

// StartFaulty is Start with modules that stand on what the plan decides. What
// is under way when the host stops may fail.
func StartFaulty(t testing.TB, cfg *config.Config, plan *faulttest.Plan, specs ...module.Spec) *module.Host {
	t.Helper()
	return start(t, cfg, plan.Faults(), specs...)
}
