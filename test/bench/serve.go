package main

import (
	"context"
	"flag"
	"net/http"
	_ "net/http/pprof" // for `bench serve -pprof` only; the application has no such listener
	"os"
	"os/signal"
	"syscall"
	"time"

	"cleave/modules/notification"
	"cleave/modules/order"
	"cleave/modules/user"
	"cleave/platform/config"
	"cleave/platform/event"
	"cleave/platform/module"
	"cleave/platform/saga"
	"cleave/platform/telemetry"
)

// never is a poll interval beyond any measurement.
const never = time.Hour

// serve is `bench serve`: the application's modules in this process, in which
// the work that follows an order can be left undone, so that placing alone can
// be compared with pgbench. What the placing transaction writes is the same.
func serve(args []string) error {
	fs := flag.NewFlagSet("serve", flag.ContinueOnError)
	idleSagas := fs.Bool("idle-sagas", false, "record the order module's sagas, and run none")
	idleEvents := fs.Bool("idle-events", false, "record the order module's events, and deliver none")
	noPoll := fs.Bool("no-saga-poll", false, "do not look for sagas left behind, which would count among the statements of an order")
	profile := fs.String("pprof", "", "serve profiles on this address")
	if err := fs.Parse(args); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	specs := []module.Spec{user.Module, order.Module, notification.Module}
	sections := map[string]any{}
	for _, s := range specs {
		sections[s.Name] = nil
		if s.Config != nil {
			sections[s.Name] = s.Config()
		}
	}
	cfg, err := config.Load(config.Options{Env: os.Environ(), Sections: sections})
	if err != nil {
		return err
	}
	if *idleEvents {
		cfg.Events.Poll = never
	}
	if *noPoll {
		cfg.Sagas.Poll = never
	}
	wire := order.Module.Wire
	specs[1].Wire = func(env *module.Env) (module.Parts, error) {
		e := *env
		if *idleSagas {
			e.Sagas = saga.NewRunner(env.DB, saga.Options{Lease: cfg.Sagas.Lease, Workers: cfg.Sagas.Workers, Log: env.Log, Now: env.Now, Owner: env.NewID()})
		}
		if *idleEvents {
			bus := event.NewBus(event.Options{Log: env.Log, Now: env.Now, NewID: env.NewID})
			e.Events = bus.Publisher(env.Name, env.DB, order.Module.Publishes)
		}
		return wire(&e)
	}
	lines := telemetry.NewLines(os.Stderr)
	defer func() { _ = lines.Flush() }()
	log := telemetry.NewLogger(lines, cfg.Log.Level, cfg.Log.Format)
	if _, err := telemetry.SetupTracing(ctx, cfg.Trace.Exporter, "bench", "bench", log); err != nil {
		return err
	}
	host, err := module.NewHost(cfg, module.Options{Log: log, Out: os.Stderr, Version: "bench"}, specs...)
	if err != nil {
		return err
	}
	if *profile != "" {
		go func() { log.Error("profiles are not served", "error", http.ListenAndServe(*profile, nil)) }()
	}
	return host.Run(ctx)
}
