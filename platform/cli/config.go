package cli

import (
	"github.com/spf13/cobra"

	"cleave/platform/config"
)

func (a *app) config() *cobra.Command {
	c := &cobra.Command{Use: "config", Short: "Show or check the configuration"}
	c.AddCommand(
		&cobra.Command{
			Use:   "show",
			Short: "Print every key with its value and its source; secrets are masked",
			RunE: func(*cobra.Command, []string) error {
				cfg, err := a.load()
				if err != nil {
					return err
				}
				return a.print(config.Describe(cfg))
			},
		},
		&cobra.Command{
			Use:   "validate",
			Short: "Check the configuration without starting anything",
			Long:  "Check the configuration without starting anything. Each problem is one line on standard error, and the exit code is 2.",
			RunE: func(*cobra.Command, []string) error {
				if _, err := a.load(); err != nil {
					return err
				}
				return a.print(struct {
					Valid bool `json:"valid"`
				}{true})
			},
		},
	)
	return c
}
