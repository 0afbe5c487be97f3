package contract

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Where the tools are pinned, from the root of the tree.
const (
	bufModfile     = "tools/go.mod"
	oasdiffModfile = "tools/oasdiff.mod"
)

// Exit codes with which the tools say that they have found something.
const (
	bufFound     = 100
	oasdiffFound = 1
)

func checkProto(ctx context.Context, root string) ([]Finding, error) {
	out, err := tool(ctx, root, bufModfile, []int{bufFound}, "buf", "breaking", "--error-format", "json", "--against", folder+"/"+image)
	if err != nil {
		return nil, err
	}
	var findings []Finding
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var f struct {
			Path    string `json:"path"`
			Line    int    `json:"start_line"`
			Type    string `json:"type"`
			Message string `json:"message"`
		}
		if err := d.Decode(&f); errors.Is(err, io.EOF) {
			return findings, nil
		} else if err != nil {
			return nil, fmt.Errorf("read the answer of buf: %w", err)
		}
		if f.Path == "" {
			f.Path = "modules"
		}
		findings = append(findings, Finding{
			File: f.Path, Line: f.Line, Rule: "proto/" + strings.ToLower(f.Type), What: strings.TrimSuffix(f.Message, "."),
			Fix: "put back what was released and add the new beside it, under new names and numbers; what cannot live beside it is a v2",
		})
	}
}

func checkOpenAPI(ctx context.Context, root string) ([]Finding, error) {
	bases, err := filepath.Glob(filepath.Join(root, folder, "openapi", "*.yaml"))
	if err != nil {
		return nil, err
	}
	var findings []Finding
	for _, base := range bases {
		module := strings.TrimSuffix(filepath.Base(base), ".yaml")
		document := documentOf(module)
		if _, err := os.Stat(filepath.Join(root, document)); errors.Is(err, os.ErrNotExist) {
			findings = append(findings, Finding{
				File: document, Rule: "openapi/document-removed", What: "the REST API of module " + module + " is gone", Fix: "put the document back",
			})
			continue
		}
		found, err := compareDocuments(ctx, root, folder+"/openapi/"+module+".yaml", document)
		if err != nil {
			return nil, err
		}
		findings = append(findings, found...)
	}
	return findings, nil
}

func compareDocuments(ctx context.Context, root, base, document string) ([]Finding, error) {
	// It says in words, not in JSON, that it found nothing.
	out, err := tool(ctx, root, oasdiffModfile, []int{oasdiffFound}, "oasdiff", "breaking", "--format", "json", "--fail-on", "ERR", base, document)
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(out, []byte("[")) {
		return nil, nil
	}
	var changes []struct {
		ID        string `json:"id"`
		Text      string `json:"text"`
		Level     int    `json:"level"`
		Operation string `json:"operation"`
		Path      string `json:"path"`
		Revision  struct {
			Line int `json:"line"`
		} `json:"revisionSource"`
	}
	if err := json.Unmarshal(out, &changes); err != nil {
		return nil, fmt.Errorf("read the answer of oasdiff: %w", err)
	}
	const levelError = 3
	var findings []Finding
	for _, c := range changes {
		if c.Level < levelError {
			continue
		}
		findings = append(findings, Finding{
			File: document, Line: c.Revision.Line, Rule: "openapi/" + c.ID, What: strings.TrimSpace(c.Operation + " " + c.Path + ": " + c.Text),
			Fix: "put back what was released; add what is new as optional, or as an operation of its own",
		})
	}
	return findings, nil
}

func documentOf(module string) string { return "modules/" + module + "/v1/openapi.yaml" }
