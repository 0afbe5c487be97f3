package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"cleave/platform/fault"
	"cleave/platform/module"
)

// moduleRow is a module in `app module list`.
type moduleRow struct {
	Name       string `json:"name"`
	Uses       string `json:"uses"`
	UsedBy     string `json:"used_by"`
	Publishes  int    `json:"publishes"`
	Subscribes int    `json:"subscribes"`
	Operations int    `json:"operations"`
	Tables     int    `json:"tables"`
}

func (a *app) module() *cobra.Command {
	group := &cobra.Command{Use: "module", Short: "Show what the modules offer and need, and move them between running servers"}
	group.AddCommand(a.placing()...)
	group.AddCommand(&cobra.Command{
		Use:   "list",
		Short: "List the modules",
		RunE: func(*cobra.Command, []string) error {
			all, err := module.Describe(a.modules)
			if err != nil {
				return err
			}
			rows := make([]moduleRow, len(all))
			for i, d := range all {
				rows[i] = moduleRow{
					Name: d.Name, Uses: strings.Join(d.Uses, ","), UsedBy: strings.Join(d.UsedBy, ","), Publishes: len(d.Publishes),
					Subscribes: len(d.Subscribes), Operations: len(d.Operations), Tables: len(d.Tables),
				}
			}
			return a.print(rows)
		},
	}, &cobra.Command{
		Use:   "describe [NAME]",
		Short: "Show a module's contract, events, tables, permissions and settings, or those of all modules",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			all, err := module.Describe(a.modules)
			if err != nil {
				return err
			}
			if len(args) == 1 {
				all = slices.DeleteFunc(all, func(d module.Description) bool { return d.Name != args[0] })
				if len(all) == 0 {
					return fault.New(fault.Invalid, "module_unknown", "there is no module %q: `app module list` shows them", args[0])
				}
			}
			if a.output == "json" {
				return a.print(all)
			}
			for _, d := range all {
				fmt.Fprintln(a.Out, d.Canvas())
			}
			return nil
		},
	})
	return group
}

// reference prints every command with its help, as Markdown.
func (a *app) reference() *cobra.Command {
	return &cobra.Command{
		Use:    "reference",
		Short:  "Print the help of all commands as Markdown",
		Hidden: true,
		RunE: func(*cobra.Command, []string) error {
			document(a.Out, a.root)
			return nil
		},
	}
}

func document(out io.Writer, c *cobra.Command) {
	text := c.Long
	if text == "" {
		text = c.Short
	}
	fmt.Fprintf(out, "## %s\n\n%s\n", c.CommandPath(), text)
	if c.Runnable() && !c.HasAvailableSubCommands() {
		fmt.Fprintf(out, "\n```\n%s\n%s```\n", c.UseLine(), c.LocalNonPersistentFlags().FlagUsages())
	} else if c.HasPersistentFlags() {
		fmt.Fprintf(out, "\n```\n%s```\n", c.PersistentFlags().FlagUsages())
	}
	for _, child := range c.Commands() {
		if child.IsAvailableCommand() && child.Name() != "completion" && child.Name() != "help" {
			fmt.Fprintln(out)
			document(out, child)
		}
	}
}
