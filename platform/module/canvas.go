package module

import (
	"fmt"
	"strings"

	"cleave/platform/config"
)

// Canvas is the description as Markdown: what a reader needs to know of the
// module without opening its code.
func (d Description) Canvas() string {
	var b strings.Builder
	fmt.Fprintf(&b, "## %s\n\n", d.Name)
	list(&b, "Calls", d.Uses, "no module")
	list(&b, "Called by", d.UsedBy, "no module")
	list(&b, "Methods", d.Methods, "none: nobody calls it")
	b.WriteString("- Publishes:")
	if len(d.Publishes) == 0 {
		b.WriteString(" nothing")
	}
	b.WriteString("\n")
	for _, e := range d.Publishes {
		to := strings.Join(e.Handlers, ", ")
		if to == "" {
			to = "no module"
		}
		fmt.Fprintf(&b, "  - `%s` → %s\n", e.Type, to)
	}
	list(&b, "Handles", d.Subscribes, "nothing")
	list(&b, "Tables", d.Tables, "none")
	if len(d.Operations) > 0 {
		b.WriteString("\n| Operation | | Permission | Owner |\n|---|---|---|---|\n")
		for _, o := range d.Operations {
			fmt.Fprintf(&b, "| `%s %s` | %s | `%s` | %s |\n", o.Method, o.Path, o.Summary, o.Permission, o.Owner)
		}
	}
	if len(d.Permissions) > 0 {
		b.WriteString("\n| Permission | Role | Scope |\n|---|---|---|\n")
		for _, p := range d.Permissions {
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", p.Name, p.Role, p.Scope)
		}
	}
	if len(d.Config) > 0 {
		b.WriteString("\n")
		b.WriteString(ConfigTable(d.Config))
	}
	return b.String()
}

// ConfigTable is configuration keys and their values as a Markdown table.
func ConfigTable(rows []config.Row) string {
	var b strings.Builder
	b.WriteString("| Key | Environment | Default |\n|---|---|---|\n")
	for _, r := range rows {
		value := "–"
		if r.Value != "" {
			value = "`" + r.Value + "`"
		}
		fmt.Fprintf(&b, "| `%s` | `CLEAVE_%s` | %s |\n", r.Key, strings.ToUpper(strings.ReplaceAll(r.Key, ".", "_")), value)
	}
	return b.String()
}

func list(b *strings.Builder, label string, items []string, none string) {
	if len(items) == 0 {
		fmt.Fprintf(b, "- %s: %s\n", label, none)
		return
	}
	fmt.Fprintf(b, "- %s: `%s`\n", label, strings.Join(items, "`, `"))
}

// Map is the module map as a Mermaid flowchart: calls are solid lines, events
// dashed.
func Map(all []Description) string {
	var b strings.Builder
	b.WriteString("flowchart LR\n")
	for _, d := range all {
		fmt.Fprintf(&b, "    %s[(%s)]\n", d.Name, d.Name)
	}
	for _, d := range all {
		for _, u := range d.Uses {
			fmt.Fprintf(&b, "    %s -- calls --> %s\n", d.Name, u)
		}
	}
	for _, d := range all {
		for _, to := range all {
			if names := eventsTo(d, to.Name); len(names) > 0 {
				fmt.Fprintf(&b, "    %s -. \"%s\" .-> %s\n", d.Name, strings.Join(names, "<br>"), to.Name)
			}
		}
	}
	return b.String()
}

// PlantUML is the module map as a C4 component diagram.
func PlantUML(all []Description) string {
	var b strings.Builder
	b.WriteString("@startuml\n!include <C4/C4_Component>\nContainer_Boundary(app, \"app\") {\n")
	for _, d := range all {
		fmt.Fprintf(&b, "  Component(%s, \"%s\", \"module\", \"%d operations, %d tables\")\n", d.Name, d.Name, len(d.Operations), len(d.Tables))
	}
	b.WriteString("}\n")
	for _, d := range all {
		for _, u := range d.Uses {
			fmt.Fprintf(&b, "Rel(%s, %s, \"calls\", \"gRPC\")\n", d.Name, u)
		}
	}
	b.WriteString("AddRelTag(\"event\", $lineStyle = DashedLine())\n")
	for _, d := range all {
		for _, to := range all {
			if names := eventsTo(d, to.Name); len(names) > 0 {
				fmt.Fprintf(&b, "Rel(%s, %s, \"%s\", $tags=\"event\")\n", d.Name, to.Name, strings.Join(names, ", "))
			}
		}
	}
	b.WriteString("@enduml\n")
	return b.String()
}

// eventsTo lists the short names of d's events that the module to handles.
func eventsTo(d Description, to string) []string {
	var names []string
	for _, e := range d.Publishes {
		for _, h := range e.Handlers {
			if h == to {
				names = append(names, e.Type[strings.LastIndexByte(e.Type, '.')+1:])
			}
		}
	}
	return names
}
