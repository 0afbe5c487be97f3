package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

var (
	tpsLine  = regexp.MustCompile(`(?m)^tps = ([0-9.]+) \(without initial connection time\)`)
	doneLine = regexp.MustCompile(`(?m)^number of transactions actually processed: (\d+)`)
)

// pgbenchRun is one way of running pgbench on the cluster.
type pgbenchRun struct {
	c      *cluster
	dir    string
	script string // path
	values constants
	runs   int
}

// newPgbench writes the transactions as a script into a folder of its own.
func (c *cluster) newPgbench(b *bed, transactions []transaction, pipelined bool, values constants) (*pgbenchRun, error) {
	p := &pgbenchRun{c: c, dir: b.TempDir(), values: values}
	p.script = filepath.Join(p.dir, "script.sql")
	return p, os.WriteFile(p.script, []byte(script(transactions, pipelined)), 0o600)
}

// run runs the script for a while in n clients, each with a connection of its
// own and prepared statements. The second result is pgbench's own processor
// time.
func (p *pgbenchRun) run(ctx context.Context, n int, d time.Duration) (sample, time.Duration, error) {
	p.runs++
	prefix := filepath.Join(p.dir, "run"+strconv.Itoa(p.runs))
	args := []string{
		"-n", "-M", "prepared", "-c", strconv.Itoa(n), "-j", strconv.Itoa(min(n, 2)), "-T", strconv.Itoa(int(d.Seconds()) + n/16), // it counts the time to connect
		"-f", p.script, "--log", "--log-prefix", prefix, "-D", "n=0", "-D", fmt.Sprintf("base=%d", p.c.nextBase()),
	}
	for name, value := range p.values {
		args = append(args, "-D", name+"="+value)
	}
	cmd := exec.CommandContext(ctx, p.c.pgbench, args...)
	cmd.Env = p.c.pgbenchEnv()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return sample{}, 0, fmt.Errorf("pgbench: %w\n%s", err, stderr.String())
	}
	tps, done := tpsLine.FindSubmatch(out), doneLine.FindSubmatch(out)
	if tps == nil || done == nil {
		return sample{}, 0, fmt.Errorf("pgbench printed no result:\n%s", out)
	}
	rate, err := strconv.ParseFloat(string(tps[1]), 64)
	if err != nil || rate == 0 {
		return sample{}, 0, fmt.Errorf("pgbench printed tps = %s", tps[1])
	}
	s := sample{}
	if s.done, err = strconv.Atoi(string(done[1])); err != nil {
		return sample{}, 0, err
	}
	s.elapsed = time.Duration(float64(s.done) / rate * float64(time.Second))
	s.times, err = latencies(prefix)
	return s, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), err
}

// nextBase is a number above all ids that earlier runs have made.
func (c *cluster) nextBase() int64 {
	const room = 100_000_000 // of one run: a million orders of 100 clients
	c.bases++
	return 1_000_000_000_000_000 + c.bases*room
}

// latencies reads pgbench's logs: per line client, transaction, and its time in
// microseconds.
func latencies(prefix string) ([]time.Duration, error) {
	files, err := filepath.Glob(prefix + ".*")
	if err != nil {
		return nil, err
	}
	var times []time.Duration
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(text)) {
			fields := strings.Fields(line)
			if len(fields) < 3 {
				return nil, fmt.Errorf("pgbench logged %q", line)
			}
			us, err := strconv.ParseInt(fields[2], 10, 64)
			if err != nil {
				return nil, fmt.Errorf("pgbench logged %q: %w", line, err)
			}
			times = append(times, time.Duration(us)*time.Microsecond)
		}
		if err = os.Remove(file); err != nil {
			return nil, err
		}
	}
	slices.Sort(times)
	return times, nil
}

// side is pgbench's side of a comparison.
func (p *pgbenchRun) side(name string) side {
	return side{name: name, run: func(ctx context.Context, n int, d time.Duration) (sample, error) {
		s, _, err := p.run(ctx, n, d)
		return s, err
	}}
}
