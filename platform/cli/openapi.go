package cli

import (
	"fmt"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"cleave/platform/fault"
	"cleave/platform/ops"
	opsv1 "cleave/platform/ops/v1"
	"cleave/platform/rest"
)

func (a *app) openapi() *cobra.Command {
	var wanted []string
	var format string
	c := &cobra.Command{
		Use:   "openapi",
		Short: "Print the OpenAPI document of the whole API",
		RunE: func(*cobra.Command, []string) error {
			if format != "json" && format != "yaml" {
				return fault.New(fault.Invalid, "format_unknown", "--format is %q, allowed: json, yaml", format)
			}
			specs, err := a.pick(wanted)
			if err != nil {
				return err
			}
			docs := map[string][]byte{}
			if len(wanted) == 0 {
				docs[ops.Name] = opsv1.OpenAPI
			}
			for _, s := range specs {
				if s.OpenAPI != nil {
					docs[s.Name] = s.OpenAPI
				}
			}
			doc, err := rest.Merge(docs)
			if err != nil {
				return fmt.Errorf("merge the OpenAPI documents: %w", err)
			}
			if format == "yaml" {
				if doc, err = toYAML(doc); err != nil {
					return fmt.Errorf("write the OpenAPI document as YAML: %w", err)
				}
			}
			_, err = a.Out.Write(doc)
			return err
		},
	}
	c.Flags().StringSliceVar(&wanted, "module", nil, "only the operations of module `NAME` (repeatable)")
	c.Flags().StringVar(&format, "format", "json", "print as `FORMAT`: json or yaml")
	return c
}

// toYAML keeps the order of the keys: JSON is YAML in another style.
func toYAML(doc []byte) ([]byte, error) {
	var n yaml.Node
	if err := yaml.Unmarshal(doc, &n); err != nil {
		return nil, err
	}
	blockStyle(&n)
	return yaml.Marshal(&n)
}

func blockStyle(n *yaml.Node) {
	n.Style = 0
	for _, c := range n.Content {
		blockStyle(c)
	}
}
