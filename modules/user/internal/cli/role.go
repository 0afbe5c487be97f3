package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"cleave/modules/user/internal/app"
	"cleave/modules/user/internal/domain"
	"cleave/platform/module"
)

// roleRow is a user with their roles, as the commands print it.
type roleRow struct {
	ID    string `json:"user_id"`
	Email string `json:"email"`
	Roles string `json:"roles"`
}

func roleCommands(tool *module.Tool) *cobra.Command {
	group := &cobra.Command{Use: "role", Short: "Show or set the roles of a user"}
	var roles []string
	set := &cobra.Command{
		Use:   "set USER-ID --role ROLE",
		Short: "Give a user these roles and no others",
		Long: "Give a user these roles and no others: " + strings.Join(domain.Roles(), ", ") + ". Running servers refuse the user's access tokens\n" +
			"from before within a second or so. The last administrator must stay one.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return withApp(c.Context(), tool, func(ctx context.Context, a *app.App) error {
				u, err := a.User(ctx, args[0])
				if err != nil {
					return err
				}
				if u, err = a.SetRoles(ctx, u.ID, u.Version, roles); err != nil {
					return err
				}
				return tool.Print([]roleRow{{u.ID, string(u.Email), strings.Join(u.Roles, ",")}})
			})
		},
	}
	set.Flags().StringSliceVar(&roles, "role", nil, "a `ROLE` that the user shall have (repeatable)")
	cobra.CheckErr(set.MarkFlagRequired("role"))
	group.AddCommand(set, &cobra.Command{
		Use:   "show USER-ID",
		Short: "Show the roles of a user",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return withApp(c.Context(), tool, func(ctx context.Context, a *app.App) error {
				u, err := a.User(ctx, args[0])
				if err != nil {
					return err
				}
				return tool.Print([]roleRow{{u.ID, string(u.Email), strings.Join(u.Roles, ",")}})
			})
		},
	})
	return group
}
