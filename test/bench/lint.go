package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// measureLint times the boundary lint over this repository, beside go vet on
// the same tree: warm, and with empty caches of its own and of the go command.
func (o *options) measureLint(ctx context.Context, b *bed, r *report) error {
	dir := b.TempDir()
	lint := filepath.Join(dir, "cleave")
	if _, err := timed(ctx, nil, "go", "build", "-o", lint, "cleave/cmd/cleave"); err != nil {
		return err
	}
	var warm, vet []float64
	for range o.rounds + 1 {
		t, err := timed(ctx, nil, lint, "lint")
		if err != nil {
			return err
		}
		warm = append(warm, t.Seconds())
		if t, err = timed(ctx, nil, "go", "vet", "./..."); err != nil {
			return err
		}
		vet = append(vet, t.Seconds())
	}
	empty := []string{"XDG_CACHE_HOME=" + filepath.Join(dir, "cache"), "GOCACHE=" + filepath.Join(dir, "gocache")}
	cold, err := timed(ctx, empty, lint, "lint")
	if err != nil {
		return err
	}
	r.section("Boundary lint of this repository, beside go vet on the same tree")
	r.atMost("lint, warm", median(warm[1:]), 5, " s", fmt.Sprintf("go vet, warm: %.2f s", median(vet[1:])))
	r.atMost("lint, empty caches", cold.Seconds(), 20, " s", "go vet would compile everything first")
	return nil
}

// timed runs a command to its end and says how long it took.
func timed(ctx context.Context, env []string, name string, args ...string) (time.Duration, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	began := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return time.Since(began), nil
}
