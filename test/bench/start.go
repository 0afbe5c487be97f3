package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"time"
)

// build makes the application as `make build` does.
func build(ctx context.Context, path string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-tags", "nomsgpack", "-ldflags", "-s -w", "-o", path, "cleave/cmd/app")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the application: %w\n%s", err, out)
	}
	return nil
}

// measureStart starts the binary on fresh data folders.
func (o *options) measureStart(ctx context.Context, b *bed, r *report) error {
	info, err := os.Stat(o.app)
	if err != nil {
		return err
	}
	var first, memory []float64
	for n := o.warmUp(); n <= o.starts; n++ {
		s, err := launch(ctx, b.TempDir(), nil, o.app, "serve")
		if err != nil {
			return err
		}
		if n > 0 { // the first reads the binary from the disk
			first = append(first, float64(s.ready.Microseconds())/1000)
		}
		if n >= o.starts-2 {
			time.Sleep(2 * time.Second)
			memory = append(memory, float64(rss(s.pid()))/1e6)
		}
		if err = s.stop(); err != nil {
			return err
		}
	}
	r.section("Start on a fresh data folder, SQLite")
	r.atMost("first healthy response after exec", median(first), 150, " ms", fmt.Sprintf("median of %d starts", len(first)))
	r.atMost("resident memory 2 s later, idle", median(memory), 40, " MB", fmt.Sprintf("median of %d starts", len(memory)))
	r.atMost("stripped static binary", float64(info.Size())/1e6, 45, " MB", "")
	return nil
}
