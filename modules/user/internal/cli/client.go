package cli

import (
	"context"
	"errors"
	"log/slog"
	"os/user"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cleave/modules/user/internal/app"
	"cleave/modules/user/internal/store"
	userv1 "cleave/modules/user/v1"
	"cleave/platform/audit"
	"cleave/platform/auth"
	"cleave/platform/event"
	"cleave/platform/module"
)

// maxClients are as many as `app user client list` shows.
const maxClients = 1000

// clientRow is an OAuth client as the commands print it.
type clientRow struct {
	ID           string `json:"client_id"`
	Secret       string `json:"client_secret,omitempty"`
	Name         string `json:"name"`
	Grants       string `json:"grants"`
	Scopes       string `json:"scopes"`
	RedirectURIs string `json:"redirect_uris,omitempty"`
	Roles        string `json:"roles,omitempty"`
	Created      string `json:"created_at"` // RFC 3339
}

func clientCommands(tool *module.Tool) *cobra.Command {
	group := &cobra.Command{Use: "client", Short: "Register OAuth clients, list or delete them"}
	var n app.NewClient
	create := &cobra.Command{
		Use:   "create --name NAME --grant GRANT",
		Short: "Register a client and show its secret, once",
		Long: "Register a client and show its secret, once: only a hash of it is kept. The scopes are openid, profile, email,\n" +
			"offline_access and the name of each module whose API the client may use.",
		RunE: func(c *cobra.Command, _ []string) error {
			return withApp(c.Context(), tool, func(ctx context.Context, a *app.App) error {
				created, secret, err := a.CreateClient(ctx, n)
				if err != nil {
					return err
				}
				row := printable(created)
				row.Secret = secret
				return tool.Print([]clientRow{row})
			})
		},
	}
	f := create.Flags()
	f.StringVar(&n.Name, "name", "", "the `NAME` that people are shown when they consent")
	f.BoolVar(&n.Public, "public", false, "without a secret: an app on a device or in a browser")
	f.StringSliceVar(&n.Grants, "grant", nil, "authorization_code, refresh_token, client_credentials or token exchange's URN (repeatable)")
	f.StringSliceVar(&n.Scopes, "scope", nil, "a scope that the client may ask for (repeatable)")
	f.StringSliceVar(&n.RedirectURIs, "redirect-uri", nil, "an exact `URI` that codes may be sent to (repeatable)")
	f.StringSliceVar(&n.PostLogoutURIs, "post-logout-uri", nil, "an exact `URI` to go to after a log-out (repeatable)")
	f.StringSliceVar(&n.Roles, "role", nil, "a role of the client itself, for client_credentials (repeatable)")
	cobra.CheckErr(create.MarkFlagRequired("name"))
	group.AddCommand(create, &cobra.Command{
		Use:   "list",
		Short: "List the clients, the newest first, up to a thousand",
		RunE: func(c *cobra.Command, _ []string) error {
			return withApp(c.Context(), tool, func(ctx context.Context, a *app.App) error {
				clients, _, err := a.Clients(ctx, store.Page{Limit: maxClients})
				if err != nil {
					return err
				}
				rows := make([]clientRow, len(clients))
				for i, c := range clients {
					rows[i] = printable(c)
				}
				return tool.Print(rows)
			})
		},
	}, &cobra.Command{
		Use:   "delete ID",
		Short: "Delete a client and end everything that it was given",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return withApp(c.Context(), tool, func(ctx context.Context, a *app.App) error { return a.DeleteClient(ctx, args[0]) })
		},
	})
	return group
}

func printable(c store.OAuthClient) clientRow {
	return clientRow{
		ID: c.ID, Name: c.Name, Grants: strings.Join(c.Grants, ","), Scopes: strings.Join(c.Scopes, ","),
		RedirectURIs: strings.Join(c.RedirectURIs, ","), Roles: strings.Join(c.Roles, ","), Created: c.CreatedAt.Format(time.RFC3339),
	}
}

// withApp runs fn on the use cases over the module's database, as the operating system's user. Events wait in the outbox for a
// running server.
func withApp(ctx context.Context, tool *module.Tool, fn func(context.Context, *app.App) error) error {
	cfg, err := tool.Config()
	if err != nil {
		return err
	}
	d, err := tool.DB(ctx)
	if err != nil {
		return err
	}
	bus := event.NewBus(event.Options{Log: slog.New(slog.DiscardHandler), Now: tool.Now, NewID: module.NewID})
	a := app.New(app.Deps{
		DB: d, Store: store.New(d), Events: bus.Publisher("user", d, []event.Type{userv1.Revoked, userv1.RolesChanged}),
		Audit: audit.New(d, cfg.Auth.Issuer, tool.Now), Now: tool.Now, NewID: module.NewID, Issuer: cfg.Auth.Issuer, Audience: tool.Modules,
	})
	who := "unknown"
	if u, err := user.Current(); err == nil {
		who = u.Username
	}
	return errors.Join(fn(auth.With(ctx, auth.Principal{Issuer: "cli", Subject: who}), a), d.Close())
}
