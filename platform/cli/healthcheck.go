package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cleave/platform/config"
)

const healthTimeout = 2 * time.Second

func (a *app) healthcheck() *cobra.Command {
	return &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask the process on http.addr whether it is ready",
		Long: "Ask the process that listens on the configured http.addr whether it is ready, and wait at most 2 s for the answer.\n" +
			"The exit code is 0 for ready and 1 for anything else, as Docker's HEALTHCHECK wants it.",
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := a.load()
			if err == nil {
				err = healthy(c.Context(), config.LocalURL(cfg.HTTP.Addr)+"/readyz?verbose")
			}
			if err != nil {
				return &exitError{Failed, err}
			}
			return nil
		},
	}
}

func healthy(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	// A transport of its own: the process asks itself, past any proxy that the environment names.
	t := &http.Transport{}
	defer t.CloseIdleConnections()
	res, err := (&http.Client{Transport: t}).Do(req)
	if err != nil {
		return fmt.Errorf("not ready: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusOK {
		return nil
	}
	body, _ := io.ReadAll(io.LimitReader(res.Body, 500))
	return fmt.Errorf("not ready: %s answered %s: %s", url, res.Status, strings.Join(strings.Fields(string(body)), " "))
}
