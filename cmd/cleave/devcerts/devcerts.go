// Package devcerts makes the certificates with which the processes of a split program know each other, for one machine or a demo.
package devcerts

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cleave/platform/trust/authority"
)

type process struct {
	name    string
	modules []string
}

// Command is `cleave dev-certs`.
func Command() *cobra.Command {
	var dir, domain string
	c := &cobra.Command{
		Use:   "dev-certs NAME=MODULE[,MODULE...]...",
		Short: "Make an authority and a certificate for each process",
		Long: `Make an authority for development, and a certificate for each process NAME that runs the MODULEs; with none it is a gateway.
A second run keeps the authority and renews the certificates; running processes notice. Certificates are valid for 30 days.
Whoever has ca.key can be any process: it is not for production.`,
		Example: "  go tool cleave dev-certs --out certs order=order rest=user,notification gateway=",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			processes, err := parse(args)
			if err != nil {
				return err
			}
			a, err := authority.Open(dir, domain, time.Now)
			if err != nil {
				return err
			}
			for _, p := range processes {
				files, err := a.Issue(p.name, p.modules)
				if err != nil {
					return err
				}
				if _, err := fmt.Fprintf(c.OutOrStdout(), "%s  %s\n", files.Cert, a.ID(p.modules...)); err != nil {
					return err
				}
			}
			return nil
		},
	}
	c.Flags().StringVar(&dir, "out", "certs", "the `FOLDER` for the files")
	c.Flags().StringVar(&domain, "domain", "cleave.local", "the trust `DOMAIN`")
	return c
}

// parse reads every argument before anything is written.
func parse(args []string) ([]process, error) {
	var errs []error
	seen := map[string]bool{}
	list := make([]process, len(args))
	for i, arg := range args {
		name, modules, ok := strings.Cut(arg, "=")
		p := process{name: name}
		if modules != "" {
			p.modules = strings.Split(modules, ",")
		}
		err := authority.Check(p.name, p.modules)
		switch {
		case !ok:
			err = fmt.Errorf("%q: want NAME=MODULE[,MODULE...], or NAME= for a gateway", arg)
		case err == nil && seen[name]:
			err = fmt.Errorf("two processes are named %s", name)
		}
		seen[name] = true
		list[i] = p
		errs = append(errs, err)
	}
	return list, errors.Join(errs...)
}
