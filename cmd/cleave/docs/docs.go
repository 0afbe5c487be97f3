// Package docs writes reference documents from the code: what the deployable
// says of its modules, configuration and commands, and the faults that the
// sources can return.
package docs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"cleave/platform/config"
	"cleave/platform/module"
)

const (
	folder = "docs/reference"
	notice = "<!-- Written by `go tool cleave docs` from the code. Do not edit. -->\n\n"
	// The README shows the map between these two lines.
	mapBegin = "<!-- module map: begin -->\n"
	mapEnd   = "<!-- module map: end -->\n"
)

// Command is `cleave docs`. With --check it writes nothing and fails when a
// document is stale.
func Command() *cobra.Command {
	var check bool
	c := &cobra.Command{
		Use:   "docs",
		Short: "Write the reference documents from the code into " + folder,
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			files, err := Generate(c.Context(), ".")
			if err != nil {
				return err
			}
			if check {
				return compare(files, ".")
			}
			return write(files, ".")
		},
	}
	c.Flags().BoolVar(&check, "check", false, "fail when a document is stale, and write nothing")
	return c
}

// Generate returns the documents of the repository at root, by path. It runs
// the deployable, ./cmd/app.
func Generate(ctx context.Context, root string) (map[string][]byte, error) {
	var modules []module.Description
	if err := ask(ctx, root, &modules, "module", "describe", "--output", "json"); err != nil {
		return nil, err
	}
	var rows []config.Row
	if err := ask(ctx, root, &rows, "config", "show", "--output", "json"); err != nil {
		return nil, err
	}
	reference, err := app(ctx, root, "reference")
	if err != nil {
		return nil, err
	}
	faults, err := Faults(root)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{
		"modules.md":   modulesPage(modules),
		"modules.puml": []byte(module.PlantUML(modules)),
		"events.md":    eventsPage(modules),
		"errors.md":    faultsPage(faults),
		"config.md":    []byte(notice + "# Configuration\n\nDefaults, then the file, then the environment, then flags; the later wins.\n\n" + module.ConfigTable(rows)),
		"cli.md":       append([]byte(notice+"# Commands\n\n"), reference...),
	}
	out := map[string][]byte{}
	for name, content := range files {
		out[filepath.Join(folder, name)] = content
	}
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		return nil, err
	}
	if out["README.md"], err = withMap(readme, module.Map(modules)); err != nil {
		return nil, err
	}
	return out, nil
}

// withMap puts the module map between its marks.
func withMap(readme []byte, chart string) ([]byte, error) {
	before, rest, ok := bytes.Cut(readme, []byte(mapBegin))
	_, after, ok2 := bytes.Cut(rest, []byte(mapEnd))
	if !ok || !ok2 {
		return nil, errors.New("README.md lacks the marks of the module map")
	}
	return bytes.Join([][]byte{before, []byte(mapBegin + "```mermaid\n" + chart + "```\n" + mapEnd), after}, nil), nil
}

func modulesPage(all []module.Description) []byte {
	var b bytes.Buffer
	b.WriteString(notice + "# Modules\n\nCalls are solid lines, events dashed.\n\n```mermaid\n" + module.Map(all) + "```\n")
	for _, d := range all {
		b.WriteString("\n" + d.Canvas())
	}
	return b.Bytes()
}

func eventsPage(all []module.Description) []byte {
	var b bytes.Buffer
	b.WriteString(notice + "# Events\n\nThe type is the CloudEvents type and the protobuf message; its fields are in the module's `.proto`.\n\n")
	b.WriteString("| Type | Published by | Handled by |\n|---|---|---|\n")
	for _, d := range all {
		for _, e := range d.Publishes {
			to := "–"
			if len(e.Handlers) > 0 {
				to = strings.Join(e.Handlers, ", ")
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", e.Type, d.Name, to)
		}
	}
	return b.Bytes()
}

func ask(ctx context.Context, root string, into any, args ...string) error {
	out, err := app(ctx, root, args...)
	if err != nil {
		return err
	}
	return json.Unmarshal(out, into)
}

// app runs the deployable without the caller's CLEAVE_ settings.
func app(ctx context.Context, root string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", append([]string{"run", "./cmd/app"}, args...)...)
	cmd.Dir = root
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "CLEAVE_") {
			cmd.Env = append(cmd.Env, e)
		}
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("run app %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return out, nil
}

func write(files map[string][]byte, root string) error {
	if err := os.MkdirAll(filepath.Join(root, folder), 0o755); err != nil {
		return err
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(root, name), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func compare(files map[string][]byte, root string) error {
	var errs []error
	for name, content := range files {
		have, err := os.ReadFile(filepath.Join(root, name))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if !bytes.Equal(have, content) {
			errs = append(errs, fmt.Errorf("%s is stale: run `go tool cleave docs`", name))
		}
	}
	entries, err := os.ReadDir(filepath.Join(root, folder))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if name := filepath.Join(folder, e.Name()); files[name] == nil {
			errs = append(errs, fmt.Errorf("%s is written by nobody: remove it", name))
		}
	}
	return errors.Join(errs...)
}
