package cli

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"cleave/platform/module"
)

// finding is what doctor says about one thing.
type finding struct {
	Check string `json:"check"`
	State string `json:"state"` // ok or failed
	Says  string `json:"says"`
}

func (a *app) doctor() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Check the set-up, and the connections of the process on http.addr",
		Long: "Check whether the modules of this configuration can work together, then ask the process that listens on the configured http.addr\n" +
			"how its databases, its event pipe and its connection to each module of another process stand.\n" +
			"The exit code is 0 when all is well, 1 when something is not or the process does not answer, and 2 when the configuration is wrong.",
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := a.load()
			if err != nil {
				return err
			}
			if _, err := module.NewHost(cfg, module.Options{Version: a.version}, a.modules...); err != nil {
				return &exitError{Usage, err}
			}
			findings := []finding{{"configuration", "ok", ""}}
			_, body, err := readiness(c.Context(), cfg)
			if err != nil {
				findings = append(findings, finding{"process", "failed", err.Error()})
			}
			findings = append(findings, diagnose(body, cfg.Topology.Peers)...)
			if err := a.print(findings); err != nil {
				return err
			}
			for _, f := range findings {
				if f.State != "ok" {
					return &exitError{Failed, errors.New("something is not well, see above")}
				}
			}
			return nil
		},
	}
}

// diagnose reads what /readyz?verbose answers, and adds where each module should be.
func diagnose(body string, peers map[string]string) (all []finding) {
	for line := range strings.Lines(body) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "[+] "):
			all = append(all, finding{strings.TrimSuffix(line[4:], " ok"), "ok", ""})
		case strings.HasPrefix(line, "[-] "):
			check, says, _ := strings.Cut(line[4:], " failed: ")
			all = append(all, finding{check, "failed", says})
		default:
			continue
		}
		last := &all[len(all)-1]
		if target := peers[strings.TrimPrefix(last.Check, "module ")]; strings.HasPrefix(last.Check, "module ") && target != "" {
			last.Says = strings.TrimPrefix(last.Says+", ", ", ") + "at " + target
		}
	}
	return all
}
