package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cleave/platform/fault"
	"cleave/platform/forecast"
	"cleave/platform/traffic"
)

const planWindow = time.Second // of a block of a calibration

// plan holds the flags of `app plan`.
type plan struct {
	split, url, from, token, hops string
	during                        time.Duration
	options                       forecast.Options
}

func (a *app) plan() *cobra.Command {
	var p plan
	c := &cobra.Command{
		Use:   "plan --split PARTITION",
		Short: "Forecast what it costs to run modules in processes of their own",
		Long: "Forecast what it costs to run modules in processes of their own, from what a server that runs them together has counted and\n" +
			"from what a hop to another process costs on this machine, which takes some seconds to measure. PARTITION separates processes\n" +
			"with | and the modules in one with commas; modules that it does not name stay together.\n\n" +
			"The server's counts need the permission ops:edge:read, of the user whose access token --token-file holds. --from reads them\n" +
			"from a file instead, an answer to GET /api/v1/admin/process/traffic. The exit code is 3 when an operation makes more calls to other\n" +
			"processes than --budget allows.",
		RunE: func(c *cobra.Command, _ []string) error {
			f, err := a.forecast(c.Context(), p)
			if err != nil {
				return err
			}
			if err := a.printForecast(f); err != nil {
				return err
			}
			if over := f.Verdict.Over; len(over) > 0 {
				return &exitError{Missed, fmt.Errorf("more than %.3g calls to other processes per request: %s", p.options.Budget, strings.Join(over, ", "))}
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&p.split, "split", "", "the `PARTITION`, such as user, or user|order,notification")
	f.Float64Var(&p.options.Budget, "budget", 0, "the most calls to other processes that a request may cause, at once and later, on average; 0: no limit")
	f.StringVar(&p.options.Front, "front", forecast.Busiest, "where requests arrive: at the process of `MODULE`, direct for the process that answers them, or gateway for\none without modules (default: the process that answers most)")
	f.StringVar(&p.url, "url", "", "ask the server at `URL` (default: where the configuration lets it listen)")
	f.StringVar(&p.token, "token-file", "", "read the access token from `FILE`, - for standard input")
	f.StringVar(&p.from, "from", "", "read the counts from `FILE` and ask no server")
	f.DurationVar(&p.during, "during", 0, "forecast from the next `DURATION` alone, and not from all since the server started")
	f.StringVar(&p.hops, "hops", "", "take the costs of hops from `FILE`, the field hops of an earlier forecast, and measure none")
	far := &cobra.Command{
		Use: "far-end FAR", Hidden: true, Args: cobra.ExactArgs(1), Short: "Be the other process while hops are measured",
		RunE: func(c *cobra.Command, args []string) error {
			var far forecast.Far
			if err := json.Unmarshal([]byte(args[0]), &far); err != nil {
				return fmt.Errorf("read what the far end is told: %w", err)
			}
			return far.Serve(c.Context(), a.In, a.Out)
		},
	}
	c.AddCommand(far)
	return c
}

func (a *app) forecast(ctx context.Context, p plan) (f forecast.Forecast, err error) {
	switch {
	case p.split == "":
		return f, fault.New(fault.Invalid, "split_missing", "say with --split what to split, such as --split user")
	case p.options.Budget < 0:
		return f, fault.New(fault.Invalid, "budget_invalid", "--budget is %g, allowed: 0 and more", p.options.Budget)
	case p.during < 0 || p.during > 0 && p.from != "":
		return f, fault.New(fault.Invalid, "during_invalid", "--during is a positive duration, and counts from a file have had theirs")
	}
	names := make([]string, len(a.modules))
	for i, m := range a.modules {
		names[i] = m.Name
	}
	split, err := forecast.Parse(p.split, names)
	if err != nil {
		return f, err
	}
	counted, err := a.counted(ctx, p)
	if err != nil {
		return f, err
	}
	// What is wrong with the counts or the front shows before anything is measured.
	if f, err = forecast.Make(counted, split, forecast.Hops{}, p.options); err != nil {
		return f, err
	}
	hops, err := a.measureHops(ctx, p.hops, counted)
	if err != nil {
		return f, err
	}
	return forecast.Make(counted, split, hops, p.options)
}

// counted is what the forecast is made from.
func (a *app) counted(ctx context.Context, p plan) (s traffic.Snapshot, err error) {
	if p.from != "" {
		return s, readJSON(p.from, &s)
	}
	from, err := a.connect(remote{url: p.url, token: p.token})
	if err != nil {
		return s, err
	}
	const path = processPath + "/traffic"
	if _, err = from.call(ctx, http.MethodGet, path, "", nil, &s); err != nil || p.during == 0 {
		return s, err
	}
	fmt.Fprintf(a.Err, "counting for %s\n", p.during)
	select {
	case <-ctx.Done():
		return s, ctx.Err()
	case <-time.After(p.during):
	}
	var later traffic.Snapshot
	_, err = from.call(ctx, http.MethodGet, path, "", nil, &later)
	return later.Minus(s), err
}

func readJSON(file string, into any) error {
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		return fault.New(fault.Invalid, "file_unreadable", "the file %s is not what it should hold: %v", file, err)
	}
	return nil
}

// measureHops measures hops with messages and at a pace like those that were counted.
func (a *app) measureHops(ctx context.Context, file string, counted traffic.Snapshot) (hops forecast.Hops, err error) {
	if file != "" {
		return hops, readJSON(file, &hops)
	}
	self, err := os.Executable()
	if err != nil {
		return hops, fmt.Errorf("find this program: %w", err)
	}
	c := forecast.Like(counted, planWindow)
	c.Far = func(ctx context.Context) *exec.Cmd { return exec.CommandContext(ctx, self, "plan", "far-end") }
	fmt.Fprintf(a.Err, "measuring hops for %s\n", c.Window().Round(time.Second))
	return c.Run(ctx)
}
