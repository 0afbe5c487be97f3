package contract

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// folder holds the last release, and image in it the protobuf contracts.
const (
	folder = "release"
	image  = "contracts.binpb"
)

// ReleaseCommand is `cleave release`.
func ReleaseCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "release VERSION",
		Short: "Make the contracts and migrations of the tree the ones to compare with",
		Long: `Write the folder release anew from the tree. VERSION has three numbers, such as 1.2.0, and is not older than the
last one. It refuses when the tree breaks the last release: what is not compatible must not become the baseline unseen.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := Release(c.Context(), ".", args[0]); err != nil {
				return err
			}
			_, err := fmt.Fprintf(c.OutOrStdout(), "%s is now release %s: commit it.\n", folder, args[0])
			return err
		},
	}
}

// Release writes the folder release of the tree at root. A tree without one
// gets its first; a tree that breaks the last release keeps that one.
func Release(ctx context.Context, root, version string) error {
	now, err := parseVersion(version)
	if err != nil {
		return err
	}
	last, err := released(root)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err == nil {
		before, err := parseVersion(last)
		if err != nil {
			return fmt.Errorf("read %s/VERSION: %w", folder, err)
		}
		if slices.Compare(now, before) < 0 {
			return fmt.Errorf("release %s is older than %s, the last one", version, last)
		}
		r, err := Check(ctx, root)
		if err != nil {
			return err
		}
		if n := len(r.Findings); n > 0 {
			return fmt.Errorf("%w: %d times; see `go tool cleave contract`", ErrBroken, n)
		}
	}
	return replace(ctx, root, version)
}

func parseVersion(s string) ([]int, error) {
	v := make([]int, 3)
	if _, err := fmt.Sscanf(s, "%d.%d.%d", &v[0], &v[1], &v[2]); err != nil || s != fmt.Sprintf("%d.%d.%d", v[0], v[1], v[2]) {
		return nil, fmt.Errorf("%q is not a version of three numbers such as 1.2.0", s)
	}
	return v, nil
}

// replace writes the release beside the old one, so that a failure leaves the
// old one whole.
func replace(ctx context.Context, root, version string) error {
	next, err := os.MkdirTemp(root, "."+folder+"-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(next) }()
	if _, err := tool(ctx, root, bufModfile, nil, "buf", "build", "--exclude-source-info", "-o", filepath.Join(filepath.Base(next), image)); err != nil {
		return err
	}
	copies := map[string]string{}
	documents, err := filepath.Glob(filepath.Join(root, documentOf("*")))
	if err != nil {
		return err
	}
	for _, d := range documents {
		module := filepath.Base(filepath.Dir(filepath.Dir(d)))
		copies[d] = filepath.Join(next, "openapi", module+".yaml")
	}
	sets, err := migrationSets(root)
	if err != nil {
		return err
	}
	for _, s := range sets {
		files, err := filepath.Glob(filepath.Join(root, s.dir(), "*.sql"))
		if err != nil {
			return err
		}
		for _, f := range files {
			copies[f] = filepath.Join(next, "migrations", s.owner, s.dialect, filepath.Base(f))
		}
	}
	for from, to := range copies {
		if err := copyFile(from, to); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(next, "VERSION"), []byte(version+"\n"), 0o644); err != nil {
		return err
	}
	target := filepath.Join(root, folder)
	for _, name := range []string{"VERSION", image, "openapi", "migrations"} {
		if err := os.RemoveAll(filepath.Join(target, name)); err != nil {
			return err
		}
		if err := os.MkdirAll(target, 0o755); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(next, name), filepath.Join(target, name)); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o644)
}

// migrationSet is one owner's migrations for one database.
type migrationSet struct{ owner, dialect string }

// platformOwner owns the tables that every module's database has.
const platformOwner = "platform"

func (s migrationSet) dir() string {
	if s.owner == platformOwner {
		return "platform/db/migrations/" + s.dialect
	}
	return "modules/" + s.owner + "/migrations/" + s.dialect
}

func (s migrationSet) releasedDir() string {
	return folder + "/migrations/" + s.owner + "/" + s.dialect
}

// migrationSets are those of the tree and of the release.
func migrationSets(root string) ([]migrationSet, error) {
	seen := map[migrationSet]bool{}
	var sets []migrationSet
	for _, pattern := range []string{"platform/db/migrations/*", "modules/*/migrations/*", folder + "/migrations/*/*"} {
		dirs, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return nil, err
		}
		for _, d := range dirs {
			if info, err := os.Stat(d); err != nil || !info.IsDir() {
				continue
			}
			rel, err := filepath.Rel(root, d)
			if err != nil {
				return nil, err
			}
			part := strings.Split(filepath.ToSlash(rel), "/")
			s := migrationSet{owner: part[1], dialect: filepath.Base(d)}
			switch part[0] {
			case "platform":
				s.owner = platformOwner
			case folder:
				s.owner = part[2]
			}
			if !seen[s] {
				seen[s] = true
				sets = append(sets, s)
			}
		}
	}
	return sets, nil
}
