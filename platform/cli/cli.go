// Package cli is the command line of a deployable: it turns arguments into one
// of the commands below, and its outcome into an exit code.
//
// Data goes to standard output, as a table or as JSON; logs, progress, prompts
// and errors go to standard error, an error as one line that begins with the
// program's name.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cleave/platform/config"
	"cleave/platform/config/vault"
	"cleave/platform/db"
	"cleave/platform/event"
	"cleave/platform/event/broker"
	"cleave/platform/fault"
	"cleave/platform/module"
	"cleave/platform/worker"
)

// The exit codes.
const (
	OK     = 0
	Failed = 1 // the command ran and failed
	Usage  = 2 // wrong arguments, configuration or environment: nothing was served
	Missed = 3 // what was checked does not hold: a measurement, or the audit log
)

const program = "app"

// IO is what a command talks to.
type IO struct {
	In       io.Reader
	Out, Err io.Writer
	Env      []string // as os.Environ returns it; nil means that of the process
	// Kafka opens the pipe of events for kafka://; nil: the program has no client for it, and its configuration may not ask for one.
	Kafka func(broker.Kafka) (event.Pipe, error)
	// Workers lets modules' workers have processes of their own: the program has begun with Work.
	Workers bool
	// Host changes how serve runs the modules, in a program made for tests; nil: not at all.
	Host func(*module.Options)
}

// Extra is a command that belongs to no module.
type Extra = func(*module.Tool) *cobra.Command

// Work serves as the worker of one of the modules that args, those of the process with its name, ask for, and returns the exit code, and
// false when they ask for none.
func Work(args []string, modules []module.Spec) (code int, ok bool) {
	workers := map[string]worker.Func{}
	for _, s := range modules {
		workers[s.Name] = s.Worker
	}
	return worker.Main(args, workers)
}

// Main runs the command that args name and returns its exit code. A cancelled
// ctx makes the command stop in an orderly way.
func Main(ctx context.Context, args []string, stdio IO, version string, modules []module.Spec, extra ...Extra) int {
	if stdio.Env == nil {
		stdio.Env = os.Environ()
	}
	a := &app{IO: stdio, version: version, modules: modules}
	root := a.tree(extra)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return OK
	}
	for _, line := range lines(err) {
		fmt.Fprintf(a.Err, "%s: %s\n", program, line)
	}
	if !a.started {
		return Usage
	}
	return exitCode(err)
}

// lines is err as lines for the operator: one for each problem of a
// configuration, and one for anything else.
func lines(err error) []string {
	var bad *config.Error
	if errors.As(err, &bad) {
		return strings.Split(bad.Error(), "\n")
	}
	return []string{strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' }), "; ")}
}

func exitCode(err error) int {
	var (
		bad   *config.Error
		start *module.StartError
		exit  *exitError
	)
	if errors.As(err, &exit) {
		return exit.code
	}
	if errors.As(err, &bad) || errors.As(err, &start) {
		return Usage
	}
	f := fault.From(err)
	if f.Kind == fault.Invalid || strings.HasPrefix(f.Code, "database_") || strings.HasPrefix(f.Code, "schema_") {
		return Usage
	}
	return Failed
}

// exitError is an error whose exit code does not follow from its kind.
type exitError struct {
	code int
	error
}

func (e *exitError) Unwrap() error { return e.error }

// app is one run of the program.
type app struct {
	IO
	version string
	modules []module.Spec

	file, output string
	root         *cobra.Command
	started      bool // the arguments were understood
}

// tree builds all commands. An error that a command returns before its own code
// ran is one of usage, which started tells.
func (a *app) tree(extra []Extra) *cobra.Command {
	a.root = &cobra.Command{
		Use:   program,
		Short: "A modular monolith designed to be split",
		Long: "A modular monolith designed to be split: users, orders and notifications in one process.\n\n" +
			"Data goes to standard output, everything else to standard error. Exit codes: 0 success; 1 the command ran and failed;\n" +
			"2 wrong arguments, configuration or environment, nothing was served; 3 what was checked does not hold.",
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       a.version,
	}
	a.root.SetIn(a.In)
	a.root.SetOut(a.Out)
	a.root.SetErr(a.Err)
	fs := a.root.PersistentFlags()
	fs.StringVar(&a.file, "config", a.variable(config.FileVariable), "read the configuration from `FILE` (or "+config.FileVariable+")")
	fs.StringVar(&a.output, "output", "table", "print data as `FORMAT`: table or json")
	config.AddFlags(fs)

	a.root.AddCommand(a.serve(), a.migrate(), a.event(), a.saga(), a.audit(), a.policy(), a.issuer(), a.config(), a.module(), a.edge(), a.extract(), a.merge(), a.plan(), a.healthcheck(), a.doctor(), a.openapi(), a.reference(), a.versionCommand())
	tool := module.Tool{Config: a.load, Now: time.Now, Print: a.print, In: a.In, Err: a.Err}
	for _, m := range a.modules {
		tool.Modules = append(tool.Modules, m.Name)
	}
	for _, m := range a.modules {
		if m.Commands == nil {
			continue
		}
		group := &cobra.Command{Use: m.Name, Short: "Commands of the " + m.Name + " module"}
		own := tool
		own.DB = func(ctx context.Context) (*db.DB, error) { return a.database(ctx, m) }
		group.AddCommand(m.Commands(&own)...)
		a.root.AddCommand(group)
	}
	for _, make := range extra {
		a.root.AddCommand(make(&tool))
	}
	a.prepare(a.root)
	return a.root
}

// prepare makes every command behave alike: a group refuses what it does not
// know, and a command first checks the flags that all have.
func (a *app) prepare(c *cobra.Command) {
	for _, child := range c.Commands() {
		a.prepare(child)
	}
	run := c.RunE
	if run == nil {
		if c.Run != nil {
			return
		}
		c.Args = refuseUnknown
		c.RunE = func(c *cobra.Command, _ []string) error {
			return fmt.Errorf("%s needs a command: %s (%s --help tells more)", c.CommandPath(), strings.Join(names(c), ", "), c.CommandPath())
		}
		return
	}
	if c.Args == nil {
		c.Args = cobra.NoArgs
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		if a.output != "table" && a.output != "json" {
			return fmt.Errorf("--output is %q, allowed: table, json", a.output)
		}
		a.started = true
		return run(c, args)
	}
}

func refuseUnknown(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	c.SuggestionsMinimumDistance = 2
	hint := "the commands are " + strings.Join(names(c), ", ")
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		hint = "did you mean " + strings.Join(near, " or ") + "?"
	}
	return fmt.Errorf("unknown command %q of %s: %s", args[0], c.CommandPath(), hint)
}

func names(c *cobra.Command) []string {
	var out []string
	for _, child := range c.Commands() {
		if child.IsAvailableCommand() {
			out = append(out, child.Name())
		}
	}
	return out
}

// load reads the configuration that the environment and the flags name.
func (a *app) load() (*config.Config, error) {
	sections := map[string]any{}
	for _, m := range a.modules {
		sections[m.Name] = nil
		if m.Config != nil {
			sections[m.Name] = m.Config()
		}
	}
	cfg, err := config.Load(config.Options{
		File: a.file, Env: a.Env, Flags: a.root.PersistentFlags(), Sections: sections, Secrets: map[string]config.SecretReader{"vault": vault.Read},
	})
	if err == nil && a.Kafka == nil && broker.IsKafka(cfg.Events.Pipe) {
		return nil, withoutKafka(cfg)
	}
	return cfg, err
}

// withoutKafka is the error about an address that the program could not open.
func withoutKafka(cfg *config.Config) error {
	const key = "events.pipe"
	rows := config.Describe(cfg)
	pipe := rows[slices.IndexFunc(rows, func(r config.Row) bool { return r.Key == key })]
	return &config.Error{Problems: []config.Problem{{
		Key: key, Value: pipe.Value, Source: pipe.Source,
		Allowed: "kafka:// in the program with Kafka's client, cmd/app/extended (cd cmd/app/extended && go build -o app .), and in this one inproc, nats://, nats+tls://, amqp:// or amqps://",
	}}}
}

// database opens the database of a module, whose schema must be that of this binary.
func (a *app) database(ctx context.Context, m module.Spec) (*db.DB, error) {
	cfg, err := a.load()
	if err != nil {
		return nil, err
	}
	d, err := db.Open(ctx, cfg.Database(), m.Name, m.Constraints)
	if err != nil {
		return nil, err
	}
	if err := d.CheckSchema(ctx, m.Migrations); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// variable is the last value that the environment gives to name.
func (a *app) variable(name string) string {
	for _, e := range slices.Backward(a.Env) {
		if value, ok := strings.CutPrefix(e, name+"="); ok {
			return value
		}
	}
	return ""
}

// pick returns the modules named, or all of them for no name.
func (a *app) pick(wanted []string) ([]module.Spec, error) {
	known := make([]string, len(a.modules))
	for i, m := range a.modules {
		known[i] = m.Name
	}
	for _, w := range wanted {
		if !slices.Contains(known, w) {
			return nil, fault.New(fault.Invalid, "module_unknown", "--module is %q, allowed: %s", w, strings.Join(known, ", "))
		}
	}
	if len(wanted) == 0 {
		return a.modules, nil
	}
	return slices.DeleteFunc(slices.Clone(a.modules), func(m module.Spec) bool { return !slices.Contains(wanted, m.Name) }), nil
}
