// Package lint is the command cleave lint: it runs the boundary rules of
// platform/arch and prints what they find.
package lint

import (
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"cleave/platform/arch"
)

// FoundError says that there are violations, which have been printed.
type FoundError struct{ Count int }

func (e *FoundError) Error() string { return fmt.Sprintf("%d boundary violations", e.Count) }

// options are the flags.
type options struct {
	format        string
	since         string
	waivers       bool
	baseline      string
	writeBaseline bool
	dir           string
}

// Command is cleave lint. It fails with a *FoundError when there is a
// violation that neither a waiver nor the baseline allows.
func Command() *cobra.Command {
	var o options
	c := &cobra.Command{
		Use:   "lint [--format text|json|sarif|github] [--since REV] [--waivers] [--baseline FILE] [packages]",
		Short: "Check the boundaries between modules",
		Long: "Checks the boundaries between modules, which docs/boundaries.md explains. Packages are folders such as ./modules/order or " +
			"./modules/...; without any, everything is reported. Exit code 1 says that there are violations, 2 that the check failed.",
		RunE: func(c *cobra.Command, args []string) error { return run(c.Context(), o, args, c.OutOrStdout()) },
	}
	f := c.Flags()
	f.StringVar(&o.format, "format", "text", "print as text, json, sarif or github `FORMAT`")
	f.StringVar(&o.since, "since", "", "report only modules that changed since `REV`, and those that depend on them")
	f.BoolVar(&o.waivers, "waivers", false, "list the waivers instead of the violations")
	f.StringVar(&o.baseline, "baseline", "", "allow the violations that `FILE` lists; it may only shrink, compared with --since too")
	f.BoolVar(&o.writeBaseline, "write-baseline", false, "write what is found into the file of --baseline, to adopt existing code")
	f.StringVar(&o.dir, "dir", ".", "check the Go module around `DIR`")
	return c
}

func run(ctx context.Context, o options, patterns []string, out io.Writer) error {
	write, ok := formats()[o.format]
	if !ok {
		return fmt.Errorf("--format %s is none of text, json, sarif and github", o.format)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = "" // slower
	} else {
		cache = filepath.Join(cache, "cleave-lint")
	}
	w, err := arch.Open(ctx, arch.Options{Dir: o.dir, Cache: cache})
	if err != nil {
		return err
	}
	for _, p := range w.Problems {
		fmt.Fprintln(os.Stderr, "cleave: does not compile:", p)
	}
	result := arch.Check(w)
	if o.waivers {
		return writeWaivers(out, result.Waivers)
	}
	findings := result.Findings
	r := report{root: w.Root}
	if o.baseline != "" {
		if o.writeBaseline {
			return os.WriteFile(o.baseline, arch.NewBaseline(findings), 0o644)
		}
		if findings, err = r.applyBaseline(ctx, o, findings); err != nil {
			return err
		}
	}
	if o.since != "" {
		files, err := arch.ChangedFiles(ctx, w.Root, o.since)
		if err != nil {
			return err
		}
		findings = sinceOnly(findings, files, arch.Affected(w.Modules, files))
	}
	r.findings = only(findings, relative(w.Root, o.dir, patterns))
	if err := write(out, r); err != nil {
		return err
	}
	if n := len(arch.Violations(r.findings)); n > 0 {
		return &FoundError{Count: n}
	}
	if len(w.Problems) > 0 {
		return fmt.Errorf("%d places do not compile, so not everything was checked", len(w.Problems))
	}
	return nil
}

// report is what is printed.
type report struct {
	root     string
	findings []arch.Finding
	baseline string // a line about it; "" without one
}

func (r *report) applyBaseline(ctx context.Context, o options, findings []arch.Finding) ([]arch.Finding, error) {
	content, err := os.ReadFile(o.baseline)
	if err != nil {
		return nil, fmt.Errorf("read the baseline: %w", err)
	}
	name := relative(r.root, ".", []string{o.baseline})[0]
	now := arch.ParseBaseline(name, content)
	var before *arch.Baseline
	r.baseline = fmt.Sprintf("baseline: %d known violations", now.Len())
	if o.since != "" {
		old, err := arch.FileAt(ctx, r.root, o.since, name)
		if err != nil {
			return nil, err
		}
		if old != nil {
			before = arch.ParseBaseline(name, old)
			r.baseline += fmt.Sprintf(", %d in %s (%+d)", before.Len(), o.since, now.Len()-before.Len())
		}
	}
	return append(findings, now.Apply(findings, before)...), nil
}

// sinceOnly keeps the findings in modules that are affected and in files that
// changed, and those about modules together.
func sinceOnly(findings []arch.Finding, files []string, affected []*arch.Module) []arch.Finding {
	return slices.DeleteFunc(findings, func(f arch.Finding) bool {
		if slices.Contains(files, f.Pos.Filename) || f.Rule.World() {
			return false
		}
		return !slices.ContainsFunc(affected, func(m *arch.Module) bool { return strings.HasPrefix(f.Pos.Filename, "modules/"+m.Name+"/") })
	})
}

// relative turns patterns and names below dir into such below root.
func relative(root, dir string, names []string) []string {
	var all []string
	for _, name := range names {
		abs, err := filepath.Abs(filepath.Join(dir, name))
		if err != nil {
			abs = name
		}
		if filepath.IsAbs(name) {
			abs = name
		}
		if rel, err := filepath.Rel(root, abs); err == nil {
			name = filepath.ToSlash(rel)
		}
		all = append(all, name)
	}
	return all
}

// only keeps the findings in folders that the patterns name.
func only(findings []arch.Finding, patterns []string) []arch.Finding {
	if len(patterns) == 0 {
		return findings
	}
	return slices.DeleteFunc(findings, func(f arch.Finding) bool {
		return !slices.ContainsFunc(patterns, func(p string) bool {
			dir := path.Dir(f.Pos.Filename)
			root, deep := strings.CutSuffix(p, "...")
			root = strings.TrimSuffix(root, "/")
			return dir == p || deep && (root == "" || root == "." || dir == root || strings.HasPrefix(dir, root+"/"))
		})
	})
}
