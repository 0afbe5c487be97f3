package cli

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"cleave/modules/user/internal/keys"
	"cleave/modules/user/internal/store"
	"cleave/platform/module"
)

// keyRow is a key in `app user keys list`.
type keyRow struct {
	Kid       string `json:"kid"`
	State     string `json:"state"`
	Created   string `json:"created_at"`             // RFC 3339
	Activates string `json:"activates_at,omitempty"` // RFC 3339
	Encrypted bool   `json:"encrypted"`
}

func keyCommands(tool *module.Tool) *cobra.Command {
	group := &cobra.Command{Use: "keys", Short: "Show or rotate the keys that sign tokens"}
	group.AddCommand(&cobra.Command{
		Use:   "list",
		Short: "List the published keys, the oldest first",
		RunE: func(c *cobra.Command, _ []string) error {
			return withRing(c.Context(), tool, func(ctx context.Context, r *keys.Ring) error { return printKeys(ctx, tool, r) })
		},
	}, &cobra.Command{
		Use:   "rotate",
		Short: "Let the next key sign, and publish another next one",
		Long: "Let the next key sign, and publish another next one. What the present key has signed stays good until it expires. Running\n" +
			"servers follow within seconds; a next key that is only seconds old waits until they all know it.",
		RunE: func(c *cobra.Command, _ []string) error {
			return withRing(c.Context(), tool, func(ctx context.Context, r *keys.Ring) error {
				if _, err := r.Rotate(ctx); err != nil {
					return err
				}
				return printKeys(ctx, tool, r)
			})
		},
	})
	return group
}

// withRing runs fn on the keys in the module's database.
func withRing(ctx context.Context, tool *module.Tool, fn func(context.Context, *keys.Ring) error) error {
	cfg, err := tool.Config()
	if err != nil {
		return err
	}
	d, err := tool.DB(ctx)
	if err != nil {
		return err
	}
	ring, err := keys.Open(ctx, keys.Options{
		DB: d, Store: store.New(d), Log: slog.New(slog.DiscardHandler), Now: tool.Now,
		Secret: cfg.Auth.KeyEncryptionKey, Old: cfg.Auth.KeyEncryptionKeyOld,
	})
	if err == nil {
		err = fn(ctx, ring)
	}
	return errors.Join(err, d.Close())
}

func printKeys(ctx context.Context, tool *module.Tool, r *keys.Ring) error {
	infos, err := r.List(ctx)
	if err != nil {
		return err
	}
	rows := make([]keyRow, len(infos))
	for i, k := range infos {
		rows[i] = keyRow{Kid: k.Kid, State: k.State, Created: k.CreatedAt.Format(time.RFC3339), Encrypted: k.Encrypted}
		if !k.ActivatesAt.IsZero() {
			rows[i].Activates = k.ActivatesAt.Format(time.RFC3339)
		}
	}
	return tool.Print(rows)
}
