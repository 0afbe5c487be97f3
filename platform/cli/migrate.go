package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"cleave/platform/config"
	"cleave/platform/db"
	"cleave/platform/fault"
	"cleave/platform/module"
)

// migration is a line of what the migrate commands print.
type migration struct {
	Module  string `json:"module"`
	Set     string `json:"set"` // the platform's own tables or the module's
	Version int64  `json:"version"`
	Name    string `json:"name"`
	State   string `json:"state"`
	Applied string `json:"applied_at,omitempty"` // RFC 3339
}

func (a *app) migrate() *cobra.Command {
	var wanted []string
	var all bool
	c := &cobra.Command{Use: "migrate", Short: "Change or show the schema of the modules' databases"}
	c.PersistentFlags().StringSliceVar(&wanted, "module", nil, "only the database of module `NAME` (repeatable)")
	up := &cobra.Command{
		Use:   "up",
		Short: "Create what is missing: on Postgres roles and schemas, then every pending migration",
		Long: "Create what is missing and apply every pending migration. On Postgres db.admin_dsn creates each module's role and schema;\n" +
			"without it they must exist. Several processes may run this at once.",
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, specs, err := a.migrated(wanted)
			if err != nil {
				return err
			}
			names := make([]string, len(specs))
			for i, s := range specs {
				names[i] = s.Name
			}
			if err := db.Setup(c.Context(), cfg.Database(), names); err != nil {
				return err
			}
			return a.eachDatabase(c.Context(), cfg, specs, func(d *db.DB, s module.Spec) ([]migration, error) {
				done, err := d.Migrate(c.Context(), s.Migrations)
				return changes(s.Name, "applied", done), err
			})
		},
	}
	down := &cobra.Command{
		Use:   "down",
		Short: "Take back the last migration of a module (data in what it drops is lost)",
		RunE: func(c *cobra.Command, _ []string) error {
			if len(wanted) == 0 && !all {
				return fault.New(fault.Invalid, "module_missing", "migrate down drops data: name the module with --module NAME, or --all")
			}
			cfg, specs, err := a.migrated(wanted)
			if err != nil {
				return err
			}
			return a.eachDatabase(c.Context(), cfg, specs, func(d *db.DB, s module.Spec) ([]migration, error) {
				done, err := d.MigrateDown(c.Context(), s.Migrations)
				return changes(s.Name, "taken back", done), err
			})
		},
	}
	down.Flags().BoolVar(&all, "all", false, "one step back in every module")
	status := &cobra.Command{
		Use:   "status",
		Short: "List every migration that this binary knows, applied or pending",
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, specs, err := a.migrated(wanted)
			if err != nil {
				return err
			}
			return a.eachDatabase(c.Context(), cfg, specs, func(d *db.DB, s module.Spec) ([]migration, error) {
				known, err := d.MigrationStatus(c.Context(), s.Migrations)
				return states(s.Name, known), err
			})
		},
	}
	c.AddCommand(up, down, status)
	return c
}

func (a *app) migrated(wanted []string) (*config.Config, []module.Spec, error) {
	cfg, err := a.load()
	if err != nil {
		return nil, nil, err
	}
	specs, err := a.pick(wanted)
	return cfg, specs, err
}

// eachDatabase prints what fn did, including what was done before it failed.
func (a *app) eachDatabase(ctx context.Context, cfg *config.Config, specs []module.Spec, fn func(*db.DB, module.Spec) ([]migration, error)) error {
	var rows []migration
	one := func(s module.Spec) (err error) {
		d, err := db.Open(ctx, cfg.Database(), s.Name, s.Constraints)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, d.Close()) }()
		done, err := fn(d, s)
		rows = append(rows, done...)
		return err
	}
	for _, s := range specs {
		if err := one(s); err != nil {
			if len(rows) > 0 {
				err = errors.Join(err, a.print(rows))
			}
			return err
		}
	}
	return a.print(rows)
}

func changes(name, state string, done []db.Applied) []migration {
	rows := make([]migration, len(done))
	for i, m := range done {
		rows[i] = migration{Module: name, Set: m.Set, Version: m.Version, Name: m.Name, State: fmt.Sprintf("%s in %s", state, m.Duration.Round(time.Millisecond))}
	}
	return rows
}

func states(name string, known []db.Status) []migration {
	rows := make([]migration, len(known))
	for i, m := range known {
		rows[i] = migration{Module: name, Set: m.Set, Version: m.Version, Name: m.Name, State: "pending"}
		if !m.At.IsZero() {
			rows[i].State, rows[i].Applied = "applied", m.At.UTC().Format(time.RFC3339)
		}
	}
	return rows
}
