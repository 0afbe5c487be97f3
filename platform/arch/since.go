package arch

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
)

// ChangedFiles are the files of the working tree at root that differ from where
// HEAD left rev, relative to root with slashes, those that are not under version
// control included, those that are ignored not. It asks git.
func ChangedFiles(ctx context.Context, root, rev string) ([]string, error) {
	base, err := git(ctx, root, "merge-base", rev, "HEAD")
	if err != nil {
		return nil, err
	}
	differ, err := git(ctx, root, "diff", "--name-only", "--no-renames", "-z", "--relative", string(bytes.TrimSpace(base)), "--")
	if err != nil {
		return nil, err
	}
	added, err := git(ctx, root, "ls-files", "--others", "--exclude-standard", "-z")
	if err != nil {
		return nil, err
	}
	files := strings.FieldsFunc(string(differ)+string(added), func(r rune) bool { return r == 0 })
	slices.Sort(files)
	return slices.Compact(files), nil
}

// FileAt is a file as it was in rev; nil when it was not there.
func FileAt(ctx context.Context, root, rev, name string) ([]byte, error) {
	if _, err := git(ctx, root, "rev-parse", "--verify", "--quiet", rev+"^{commit}"); err != nil {
		return nil, err
	}
	content, err := git(ctx, root, "show", rev+":./"+name)
	if err != nil {
		return nil, nil
	}
	return content, nil
}

func git(ctx context.Context, dir string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return out, nil
}

// Affected are the modules that changed files belong to and those that depend
// on them, by Uses or by Subscribes, in the order of modules. Files outside
// modules that modules are built from affect them all.
func Affected(modules []*Module, files []string) []*Module {
	changed := map[string]bool{}
	for _, f := range files {
		if name, _ := place(f); name != "" {
			changed[name] = true
		} else if f == "go.mod" || f == "go.sum" || strings.HasPrefix(f, "platform/") {
			return modules
		}
	}
	var affected []*Module
	for _, m := range modules {
		hit := changed[m.Name] || slices.ContainsFunc(m.Uses, func(e Edge) bool { return changed[e.To] }) ||
			slices.ContainsFunc(m.Subscribes, func(e EventRef) bool { return changed[e.Module] })
		if hit {
			affected = append(affected, m)
		}
	}
	return affected
}
