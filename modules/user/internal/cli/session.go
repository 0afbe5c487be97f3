package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"cleave/modules/user/internal/app"
	"cleave/platform/module"
)

// endedRow is how many sessions have ended, as the command prints it.
type endedRow struct {
	Ended int `json:"ended"`
}

func sessionCommands(tool *module.Tool) *cobra.Command {
	group := &cobra.Command{Use: "session", Short: "End the sessions of users"}
	var all bool
	end := &cobra.Command{
		Use:   "end USER-ID | --all",
		Short: "End all sessions of a user, or of everyone",
		Long: "End all sessions of a user, or of everyone, with their access tokens, which running servers refuse within a second or so.\n" +
			"Who has an account may log in again; API keys stay. With --all, running it once more goes on where it was interrupted.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if all == (len(args) == 1) {
				return errors.New("name one user, or give --all")
			}
			return withApp(c.Context(), tool, func(ctx context.Context, a *app.App) (err error) {
				var row endedRow
				if all {
					row.Ended, err = a.EndAllSessions(ctx)
				} else {
					row.Ended, err = a.EndSessionsOf(ctx, args[0])
				}
				return errors.Join(err, tool.Print([]endedRow{row}))
			})
		},
	}
	end.Flags().BoolVar(&all, "all", false, "the sessions of everyone")
	group.AddCommand(end)
	return group
}
