// Command bench measures the application on this machine and prints one table
// that compares the figures with their goals.
//
// Throughput is given as a ratio to what the database alone manages with the
// same statements, measured in turn with it in the same run: absolute figures
// say more about the machine. docs/performance.md explains each row.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"cleave/platform/event/eventtest"
)

type options struct {
	self, app string // the paths of this program and of the application
	short     bool
	starts    int
	rounds    int
	round     time.Duration
	clients   []int
	only      []string
	profile   string // folder for profiles; empty for none
	pprofAddr string
	cluster   *cluster // nil until something needs it
}

func (o *options) conditions() string {
	return fmt.Sprintf("medians of %d rounds of %s in turn", o.rounds, o.round)
}

// warmUp is the number of the first round, or of the first start: 0 does not
// count.
func (o *options) warmUp() int {
	if o.short {
		return 1
	}
	return 0
}

func main() {
	eventtest.Main() // this program is also the broker that it measures with
	command, args := bench, os.Args[1:]
	if len(args) > 0 {
		switch args[0] {
		case "serve":
			command, args = serve, args[1:]
		case "wired":
			command, args = wired, args[1:]
		case "bare":
			command, args = serveBare, args[1:]
		}
	}
	err := command(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func bench(args []string) (err error) {
	o := &options{pprofAddr: "127.0.0.1:6060"}
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.BoolVar(&o.short, "short", false, "one short round each: shows that everything runs, and measures nothing")
	only := fs.String("only", "", "measure `PARTS` only, separated by commas: start, placing, reading, journey, sqlite, parts, access, events, recovery, split, lint")
	fs.IntVar(&o.starts, "starts", 9, "how many fresh starts")
	fs.IntVar(&o.rounds, "rounds", 5, "how many rounds")
	fs.DurationVar(&o.round, "round", 4*time.Second, "length of a round, in whole seconds")
	fs.StringVar(&o.app, "app", "", "measure the application at `PATH` instead of building it")
	fs.StringVar(&o.profile, "profile", "", "also store profiles of the server in `FOLDER`")
	if err = fs.Parse(args); err != nil {
		return err
	}
	o.clients = []int{8, 32}
	if o.short {
		o.starts, o.rounds, o.round, o.clients = 1, 1, time.Second, []int{8}
	}
	if *only != "" {
		o.only = strings.Split(*only, ",")
	}
	if o.self, err = os.Executable(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b := &bed{}
	defer b.close()
	defer func() {
		if f, ok := recover().(failed); ok {
			err = f
		}
	}()
	r := &report{}
	began, before := time.Now(), load()
	if err = o.measure(ctx, b, r); err != nil {
		return err
	}
	fmt.Printf("Cleave on %s", machine())
	if o.cluster != nil {
		fmt.Printf(", Postgres %s", o.cluster.version)
	}
	fmt.Printf("\n%s, in %s; load average %s before, %s after\n", began.UTC().Format(time.DateOnly), time.Since(began).Round(time.Second), before, load())
	r.print(os.Stdout)
	return nil
}

func (o *options) measure(ctx context.Context, b *bed, r *report) (err error) {
	if o.app == "" {
		o.app = filepath.Join(b.TempDir(), "app")
		if err = build(ctx, o.app); err != nil {
			return err
		}
	}
	for _, part := range []struct {
		name string
		run  func(context.Context, *bed, *report) error
	}{
		{"start", o.measureStart},
		{"placing", o.measurePlacing},
		{"reading", o.measureReading},
		{"journey", o.measureJourney},
		{"sqlite", o.measureSQLite},
		{"parts", o.measureParts},
		{"access", o.measureAccess},
		{"events", o.measureEvents},
		{"recovery", o.measureRecovery},
		{"split", o.measureSplit},
		{"lint", o.measureLint},
	} {
		if o.only != nil && !slices.Contains(o.only, part.name) {
			continue
		}
		if err = part.run(ctx, b, r); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return nil
}
