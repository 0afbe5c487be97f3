// Package changed runs the tests that a change can break: those of the modules
// it touches, of the modules that call them or handle their events, and of the
// program as a whole.
package changed

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"cleave/platform/module"
)

// Command is `cleave test`. It must run at the root of the tree.
func Command() *cobra.Command {
	var since string
	var list bool
	c := &cobra.Command{
		Use:   "test --since REV [-- GO TEST FLAGS]",
		Short: "Run the tests that the changes since a revision can break",
		Long: `Run the tests of the modules that have changed since REV, committed or not, and of those that depend on them: directly or
through others, by a call (Uses) or by an event. The journey, the version skew and the isolation of the databases are
tested with every module. A change of the platform, of go.mod or of anything that is not known runs everything; a change of
documents runs nothing.`,
		Example: "  go tool cleave test --since main\n  go tool cleave test --since HEAD~1 --list",
		RunE: func(c *cobra.Command, flags []string) error {
			ctx := c.Context()
			files, err := changedFiles(ctx, since)
			if err != nil {
				return err
			}
			plan := Select(files, nil)
			if len(plan.Modules) > 0 {
				modules, err := describe(ctx)
				if err != nil {
					return err
				}
				plan = Select(files, modules)
			}
			plan.Packages = slices.DeleteFunc(plan.Packages, gone)
			if list {
				for _, p := range plan.Packages {
					if _, err := fmt.Fprintln(c.OutOrStdout(), p); err != nil {
						return err
					}
				}
				return nil
			}
			fmt.Fprintf(c.ErrOrStderr(), "%s\n", plan.Why)
			if len(plan.Packages) == 0 {
				return nil
			}
			test := exec.CommandContext(ctx, "go", append(append([]string{"test"}, flags...), plan.Packages...)...)
			test.Stdout, test.Stderr = c.OutOrStdout(), c.ErrOrStderr()
			if err := test.Run(); err != nil {
				return fmt.Errorf("go test: %w", err)
			}
			return nil
		},
	}
	c.Flags().StringVar(&since, "since", "main", "the `REV`ision to compare the working tree with")
	c.Flags().BoolVar(&list, "list", false, "print the packages and run nothing")
	return c
}

// gone reports whether the folder of a package pattern is no longer there,
// which go test would refuse.
func gone(pattern string) bool {
	_, err := os.Stat(strings.TrimSuffix(pattern, "/..."))
	return errors.Is(err, os.ErrNotExist)
}

// changedFiles lists what differs from the revision at which the current
// branch left since, and what git does not know yet. Paths are relative to the
// working directory, which must be the root of the tree.
func changedFiles(ctx context.Context, since string) ([]string, error) {
	base, err := git(ctx, "merge-base", since, "HEAD")
	if err != nil {
		return nil, fmt.Errorf("find where this branch left %s: %w", since, err)
	}
	// A renamed file has left one place and come to another: both count.
	tracked, err := git(ctx, "diff", "-z", "--name-only", "--no-renames", "--relative", strings.TrimSpace(base))
	if err != nil {
		return nil, err
	}
	untracked, err := git(ctx, "ls-files", "-z", "--others", "--exclude-standard")
	if err != nil {
		return nil, err
	}
	return strings.FieldsFunc(tracked+untracked, func(r rune) bool { return r == 0 }), nil
}

func git(ctx context.Context, args ...string) (string, error) {
	out, err := run(ctx, "git", args...)
	return string(out), err
}

func describe(ctx context.Context) ([]module.Description, error) {
	out, err := run(ctx, "go", "run", "./cmd/app", "module", "describe", "--output", "json")
	if err != nil {
		return nil, err
	}
	var modules []module.Description
	if err := json.Unmarshal(out, &modules); err != nil {
		return nil, fmt.Errorf("read the description of the modules: %w", err)
	}
	return modules, nil
}

func run(ctx context.Context, name string, args ...string) ([]byte, error) {
	c := exec.CommandContext(ctx, name, args...)
	var out, diagnosis bytes.Buffer
	c.Stdout, c.Stderr, c.Env = &out, &diagnosis, os.Environ()
	if err := c.Run(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err), errors.New(strings.TrimSpace(diagnosis.String())))
	}
	return out.Bytes(), nil
}
