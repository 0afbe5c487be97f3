package module

import (
	"encoding/csv"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"cleave/platform/config"
	"cleave/platform/event"
)

// Description is what a module offers and needs, read from its Spec.
type Description struct {
	Name        string       `json:"name"`
	Uses        []string     `json:"uses"`
	UsedBy      []string     `json:"used_by"`
	Methods     []string     `json:"methods"`     // of its gRPC services
	Publishes   []EventFlow  `json:"publishes"`   // with the modules that handle each
	Subscribes  []string     `json:"subscribes"`  // event type names
	Tables      []string     `json:"tables"`      // its own, without the platform's
	Operations  []Operation  `json:"operations"`  // of its REST API
	Permissions []Permission `json:"permissions"` // and who has them
	Config      []config.Row `json:"config"`      // its settings with their defaults
}

// EventFlow is an event and the modules that handle it.
type EventFlow struct {
	Type     string   `json:"type"`
	Handlers []string `json:"handlers"`
}

// Operation is a REST operation and its access rule.
type Operation struct {
	Method     string `json:"method"`
	Path       string `json:"path"`
	ID         string `json:"id"`
	Summary    string `json:"summary"`
	Permission string `json:"permission"`
	Owner      string `json:"owner"`
}

// Permission is one line of a module's policy.
type Permission struct {
	Name  string `json:"name"`
	Role  string `json:"role"`
	Scope string `json:"scope"` // own or any
}

// Describe returns a description of each module, in the order of specs.
func Describe(specs []Spec) ([]Description, error) {
	sections := map[string]any{}
	for _, s := range specs {
		sections[s.Name] = nil
		if s.Config != nil {
			sections[s.Name] = s.Config()
		}
	}
	cfg, err := config.Load(config.Options{Sections: sections})
	if err != nil {
		return nil, err
	}
	rows := config.Describe(cfg)
	out := make([]Description, len(specs))
	for i, s := range specs {
		d := Description{
			Name: s.Name, Uses: slices.Clone(s.Uses), Subscribes: typeNames(s.Subscribes), Methods: methods(s.Name), Config: []config.Row{},
		}
		for _, other := range specs {
			if slices.Contains(other.Uses, s.Name) {
				d.UsedBy = append(d.UsedBy, other.Name)
			}
		}
		for _, t := range s.Publishes {
			d.Publishes = append(d.Publishes, EventFlow{Type: t.Name(), Handlers: handlers(specs, t)})
		}
		if d.Tables, err = tables(s.Migrations); err != nil {
			return nil, fmt.Errorf("read the migrations of module %s: %w", s.Name, err)
		}
		if d.Operations, err = operations(s.OpenAPI); err != nil {
			return nil, fmt.Errorf("read the OpenAPI document of module %s: %w", s.Name, err)
		}
		if d.Permissions, err = permissions(s.Policy); err != nil {
			return nil, fmt.Errorf("read the policy of module %s: %w", s.Name, err)
		}
		for _, r := range rows {
			if strings.HasPrefix(r.Key, "modules."+s.Name+".") {
				d.Config = append(d.Config, r)
			}
		}
		out[i] = d
	}
	return out, nil
}

func typeNames(types []event.Type) []string {
	names := make([]string, len(types))
	for i, t := range types {
		names[i] = t.Name()
	}
	return names
}

func handlers(specs []Spec, t event.Type) []string {
	var names []string
	for _, s := range specs {
		if slices.Contains(typeNames(s.Subscribes), t.Name()) {
			names = append(names, s.Name)
		}
	}
	return names
}

// methods lists the gRPC methods of the packages cleave.<module>.v1, cleave.<module>.v2, ...
func methods(module string) []string {
	var names []string
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		if !strings.HasPrefix(string(f.Package()), "cleave."+module+".v") {
			return true
		}
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			for j := range s.Methods().Len() {
				names = append(names, string(s.Methods().Get(j).FullName()))
			}
		}
		return true
	})
	return names
}

var createTable = regexp.MustCompile(`(?im)^\s*CREATE\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?"?(\w+)"?`)

// tables lists what the module's Postgres migrations create.
func tables(migrations fs.FS) ([]string, error) {
	if migrations == nil {
		return nil, nil
	}
	files, err := fs.Glob(migrations, path.Join("postgres", "*.sql"))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, f := range files {
		sql, err := fs.ReadFile(migrations, f)
		if err != nil {
			return nil, err
		}
		up, _, _ := strings.Cut(string(sql), "-- +goose Down")
		for _, m := range createTable.FindAllStringSubmatch(up, -1) {
			names = append(names, m[1])
		}
	}
	return names, nil
}

func operations(document []byte) ([]Operation, error) {
	if document == nil {
		return nil, nil
	}
	doc, err := openapi3.NewLoader().LoadFromData(document)
	if err != nil {
		return nil, err
	}
	var ops []Operation
	for p, item := range doc.Paths.Map() {
		for method, o := range item.Operations() {
			permission, _ := o.Extensions["x-permission"].(string)
			owner, _ := o.Extensions["x-owner"].(string)
			ops = append(ops, Operation{Method: method, Path: p, ID: o.OperationID, Summary: o.Summary, Permission: permission, Owner: owner})
		}
	}
	slices.SortFunc(ops, func(a, b Operation) int { return strings.Compare(a.Path+" "+a.Method, b.Path+" "+b.Method) })
	return ops, nil
}

func permissions(policy string) ([]Permission, error) {
	r := csv.NewReader(strings.NewReader(policy))
	r.Comment, r.TrimLeadingSpace, r.FieldsPerRecord = '#', true, -1
	lines, err := r.ReadAll()
	if err != nil {
		return nil, err
	}
	var out []Permission
	for _, l := range lines {
		if len(l) == 4 && l[0] == "p" {
			out = append(out, Permission{Role: l[1], Name: l[2], Scope: l[3]})
		}
	}
	slices.SortFunc(out, func(a, b Permission) int { return strings.Compare(a.Name+" "+a.Role, b.Name+" "+b.Role) })
	return out, nil
}
