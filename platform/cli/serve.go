package cli

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"cleave/platform/module"
	"cleave/platform/telemetry"
)

func (a *app) serve() *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Serve every module until SIGINT or SIGTERM, then drain",
		Long: "Serve every module. Ready, it prints its URLs, data folder and database to standard error.\n" +
			"On SIGINT or SIGTERM it reports that it is not ready, finishes the requests under way and stops; a second signal ends it at once.",
		RunE: func(c *cobra.Command, _ []string) (err error) {
			cfg, err := a.load()
			if err != nil {
				return err
			}
			lines := telemetry.NewLines(a.Err)
			defer func() { _ = lines.Flush() }()
			log := telemetry.NewLogger(lines, cfg.Log.Level, cfg.Log.Format)
			// What libraries log by themselves is about single requests, which the access log tells better, but for their own failures.
			slog.SetDefault(telemetry.NewLogger(a.Err, "error", cfg.Log.Format))
			endTracing, err := telemetry.SetupTracing(c.Context(), cfg.Trace.Exporter, program, a.version, log)
			if err != nil {
				return err
			}
			defer func() {
				// The process must end even when the collector does not answer.
				ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Context()), 5*time.Second)
				defer cancel()
				err = errors.Join(err, endTracing(ctx))
			}()
			o := module.Options{Log: log, Out: a.Err, Version: a.version, Workers: a.Workers, Kafka: a.Kafka}
			if a.Host != nil {
				a.Host(&o)
			}
			host, err := module.NewHost(cfg, o, a.modules...)
			if err != nil {
				return err
			}
			return host.Run(c.Context())
		},
	}
}
