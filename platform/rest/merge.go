package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// mergedTitle names the document of the whole API.
const mergedTitle = "Cleave"

// Merge makes one OpenAPI document, in JSON, of the modules' documents (by module, JSON or YAML).
// Its version is the highest of theirs. It is an error when two documents describe the same path,
// give one name to different components or tags, share an operation id, or differ in servers or
// security.
func Merge(docs map[string][]byte) ([]byte, error) {
	parsed := make(map[string]*openapi3.T, len(docs))
	for module, data := range docs {
		doc, err := loadDocument(data)
		if err != nil {
			return nil, fmt.Errorf("module %s: %w", module, err)
		}
		parsed[module] = doc
	}
	return mergeDocuments(parsed, "")
}

// mergeDocuments is Merge for documents already read, with a version of its own unless that is empty.
func mergeDocuments(docs map[string]*openapi3.T, version string) ([]byte, error) {
	m := &merger{first: true, out: &openapi3.T{
		OpenAPI:    "3.0.3",
		Info:       &openapi3.Info{Title: mergedTitle, Version: "0"},
		Paths:      openapi3.NewPaths(),
		Components: &openapi3.Components{},
	}, from: map[string]string{}}
	for _, module := range slices.Sorted(maps.Keys(docs)) {
		m.add(module, docs[module])
	}
	slices.SortFunc(m.errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	if err := errors.Join(m.errs...); err != nil {
		return nil, err
	}
	if version != "" {
		m.out.Info.Version = version
	}
	if err := m.out.Validate(context.Background(), openapi3.DisableExamplesValidation()); err != nil {
		return nil, fmt.Errorf("the documents do not fit together: %w", err)
	}
	return json.Marshal(m.out)
}

type merger struct {
	out   *openapi3.T
	first bool
	from  map[string]string // module by what it was the first to define
	errs  []error
}

func (m *merger) add(module string, doc *openapi3.T) {
	m.out.Info.Version = max(m.out.Info.Version, doc.Info.Version)
	if m.first {
		m.first = false
		m.out.Servers, m.out.Security = doc.Servers, doc.Security
	}
	m.same(module, "the servers", m.out.Servers, doc.Servers)
	m.same(module, "the security", m.out.Security, doc.Security)
	for path, item := range doc.Paths.Map() {
		if m.out.Paths.Value(path) != nil {
			m.errs = append(m.errs, fmt.Errorf("modules %s and %s both describe the path %s", m.from["path "+path], module, path))
			continue
		}
		m.from["path "+path] = module
		m.out.Paths.Set(path, item)
	}
	for _, tag := range doc.Tags {
		if old := m.out.Tags.Get(tag.Name); old != nil {
			m.same(module, "the tag "+tag.Name, old, tag)
			continue
		}
		m.from["the tag "+tag.Name] = module
		m.out.Tags = append(m.out.Tags, tag)
	}
	if doc.Components == nil {
		return
	}
	to, c := m.out.Components, doc.Components
	to.Schemas = mergeNamed(m, module, "schema", to.Schemas, c.Schemas)
	to.Parameters = mergeNamed(m, module, "parameter", to.Parameters, c.Parameters)
	to.Headers = mergeNamed(m, module, "header", to.Headers, c.Headers)
	to.RequestBodies = mergeNamed(m, module, "request body", to.RequestBodies, c.RequestBodies)
	to.Responses = mergeNamed(m, module, "response", to.Responses, c.Responses)
	to.SecuritySchemes = mergeNamed(m, module, "security scheme", to.SecuritySchemes, c.SecuritySchemes)
	to.Examples = mergeNamed(m, module, "example", to.Examples, c.Examples)
}

func mergeNamed[M ~map[string]V, V any](m *merger, module, kind string, to, add M) M {
	for name, v := range add {
		what := "the " + kind + " " + name
		if old, ok := to[name]; ok {
			m.same(module, what, old, v)
			continue
		}
		if to == nil {
			to = M{}
		}
		m.from[what] = module
		to[name] = v
	}
	return to
}

// same records an error unless a and b read the same.
func (m *merger) same(module, what string, a, b any) {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	if err := errors.Join(errX, errY); err != nil {
		m.errs = append(m.errs, fmt.Errorf("module %s: write %s: %w", module, what, err))
		return
	}
	if bytes.Equal(x, y) {
		return
	}
	other := m.from[what]
	if other == "" {
		other = "the ones before"
	}
	m.errs = append(m.errs, fmt.Errorf("modules %s and %s differ in %s", other, module, what))
}
