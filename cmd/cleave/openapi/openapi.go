// Package openapi is the command that turns the modules' OpenAPI documents from
// the YAML that people write into the JSON that the binary holds: reading YAML
// at each start took longer, and left megabytes of garbage behind.
package openapi

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/oasdiff/yaml" // what kin-openapi reads YAML with
	"github.com/spf13/cobra"
)

// Command is cleave openapi.
func Command() *cobra.Command {
	return &cobra.Command{
		Use:   "openapi DOCUMENT.yaml...",
		Short: "Write OpenAPI documents as JSON, each beside its YAML",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, documents []string) error {
			for _, document := range documents {
				if err := write(document); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func write(document string) error {
	extension := filepath.Ext(document)
	if extension != ".yaml" {
		return fmt.Errorf("%s is not a .yaml file", document)
	}
	text, err := os.ReadFile(document)
	if err != nil {
		return err
	}
	json, err := yaml.YAMLToJSON(text)
	if err != nil {
		return fmt.Errorf("read %s: %w", document, err)
	}
	return os.WriteFile(strings.TrimSuffix(document, extension)+".json", append(json, '\n'), 0o644) //nolint:gosec // a source file
}
