// Package contract compares what modules promise with what the last release
// promised: protobuf messages, services and events, REST operations, and the
// tables that the released binary still uses while the next one migrates them.
//
// The last release lies in the folder release/ of the tree, not in a tag: a
// shallow clone has no tags, and a baseline that is reviewed cannot move by
// accident.
package contract

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// Finding is one way in which the tree breaks what was released.
type Finding struct {
	File string // relative to the root of the tree
	Line int    // from 1; 0 when the whole file is meant
	Rule string
	What string
	Fix  string
}

func (f Finding) String() string {
	at := f.File
	if f.Line > 0 {
		at = fmt.Sprintf("%s:%d", f.File, f.Line)
	}
	return fmt.Sprintf("%s: %s: %s. Fix: %s", at, f.Rule, f.What, f.Fix)
}

// Report is what a check has found.
type Report struct {
	Version    string // of the release compared with
	Findings   []Finding
	Exceptions []Exception
}

// Exception is a migration that says why it may break the released binary.
type Exception struct{ File, Reason string }

// ErrBroken is returned when there are findings, all of them written already.
var ErrBroken = errors.New("the tree breaks what was released")

// Command is `cleave contract`. It must run at the root of the tree.
func Command() *cobra.Command {
	return &cobra.Command{
		Use:   "contract",
		Short: "Check that calls, events, REST and migrations agree with the last release",
		Long: `Compare the tree with the last release, which lies in the folder release.

Protobuf messages, services and events are held to buf's rules in buf.yaml, OpenAPI documents to oasdiff's errors.
Released migrations must not change. New ones must leave the released binary working, since it runs beside the new one
during every roll-out: expand, release, then contract. A migration that removes what no released binary uses any longer
says so in a line of its own, and is listed:

    -- cleave:contract REASON`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := Check(c.Context(), ".")
			if err != nil {
				return err
			}
			return r.write(c.OutOrStdout())
		},
	}
}

// Check compares the tree at root with its folder release. It runs buf and
// oasdiff as the tree pins them.
func Check(ctx context.Context, root string) (*Report, error) {
	version, err := released(root)
	if err != nil {
		return nil, err
	}
	r := &Report{Version: version}
	for _, check := range []func(context.Context, string) ([]Finding, error){checkProto, checkOpenAPI} {
		findings, err := check(ctx, root)
		if err != nil {
			return nil, err
		}
		r.Findings = append(r.Findings, findings...)
	}
	findings, exceptions, err := CheckMigrations(root)
	if err != nil {
		return nil, err
	}
	r.Findings = append(r.Findings, findings...)
	r.Exceptions = exceptions
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		if c := strings.Compare(a.File, b.File); c != 0 {
			return c
		}
		return a.Line - b.Line
	})
	return r, nil
}

func (r *Report) write(w io.Writer) error {
	var b bytes.Buffer
	for _, f := range r.Findings {
		fmt.Fprintln(&b, f)
	}
	for _, e := range r.Exceptions {
		fmt.Fprintf(&b, "%s: may break %s, for a reason: %s\n", e.File, r.Version, e.Reason)
	}
	if len(r.Findings) == 0 {
		fmt.Fprintf(&b, "The tree agrees with release %s.\n", r.Version)
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return err
	}
	if len(r.Findings) > 0 {
		return ErrBroken
	}
	return nil
}

func released(root string) (string, error) {
	b, err := os.ReadFile(filepath.Join(root, folder, "VERSION"))
	if errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("%s/VERSION is missing: run at the root of the tree, or write the first release with `go tool cleave release VERSION`: %w",
			folder, err)
	}
	return strings.TrimSpace(string(b)), err
}

// tool runs a pinned tool at root. Its answer is valid when it exits with one
// of the codes ok.
func tool(ctx context.Context, root, modfile string, ok []int, args ...string) ([]byte, error) {
	c := exec.CommandContext(ctx, "go", append([]string{"tool", "-modfile=" + modfile}, args...)...)
	c.Dir = root
	var out, diagnosis bytes.Buffer
	c.Stdout, c.Stderr = &out, &diagnosis
	err := c.Run()
	// go tool says how the tool exited and then does so itself.
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && slices.Contains(ok, exit.ExitCode()) && out.Len() > 0 {
		return out.Bytes(), nil
	}
	if err != nil {
		return nil, fmt.Errorf("run %s: %w\n%s%s", strings.Join(args, " "), err, out.Bytes(), diagnosis.Bytes())
	}
	return out.Bytes(), nil
}
