package lint

import (
	"encoding/json"
	"io"

	"cleave/platform/arch"
)

// The parts of SARIF 2.1.0 (OASIS) that code scanners read.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool    sarifTool     `json:"tool"`
		Results []sarifResult `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name  string      `json:"name"`
		Rules []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID               string    `json:"id"`
		ShortDescription sarifText `json:"shortDescription"`
		Help             sarifText `json:"help"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifResult struct {
		RuleID           string             `json:"ruleId"`
		Level            string             `json:"level"`
		Message          sarifText          `json:"message"`
		Locations        []sarifLocation    `json:"locations"`
		RelatedLocations []sarifLocation    `json:"relatedLocations,omitempty"`
		Fingerprints     map[string]string  `json:"partialFingerprints"`
		Suppressions     []sarifSuppression `json:"suppressions,omitempty"`
	}
	sarifLocation struct {
		Physical sarifPhysical `json:"physicalLocation"`
		Message  *sarifText    `json:"message,omitempty"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   sarifRegion   `json:"region"`
	}
	sarifArtifact struct {
		URI       string `json:"uri"`
		URIBaseID string `json:"uriBaseId"`
	}
	sarifRegion struct {
		StartLine   int `json:"startLine"`
		StartColumn int `json:"startColumn,omitempty"`
	}
	sarifSuppression struct {
		Kind          string `json:"kind"`
		Justification string `json:"justification"`
	}
)

func writeSARIF(out io.Writer, r report) error {
	run := sarifRun{Tool: sarifTool{Driver: sarifDriver{Name: "cleave lint"}}, Results: []sarifResult{}}
	for _, rule := range arch.Rules() {
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRule{
			ID: rule.Name, ShortDescription: sarifText{rule.Reason}, Help: sarifText{rule.Fix},
		})
	}
	for _, f := range r.findings {
		run.Results = append(run.Results, sarifOf(f))
	}
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(sarifLog{
		Schema: "https://json.schemastore.org/sarif-2.1.0.json", Version: "2.1.0", Runs: []sarifRun{run},
	})
}

func sarifOf(f arch.Finding) sarifResult {
	r := sarifResult{
		RuleID: f.Rule.Name, Level: "error", Message: sarifText{f.Message + ". Fix: " + f.Fix},
		Locations:    []sarifLocation{{Physical: physical(f.Pos.Filename, f.Pos.Line, f.Pos.Column)}},
		Fingerprints: map[string]string{"key/v1": f.Key()},
	}
	switch level(f) {
	case "note":
		r.Level = "note"
	case "waived":
		r.Suppressions = []sarifSuppression{{Kind: "inSource", Justification: f.Waived}}
	case "known":
		r.Suppressions = []sarifSuppression{{Kind: "external", Justification: "in the baseline"}}
	}
	for _, l := range f.Chain {
		r.RelatedLocations = append(r.RelatedLocations, sarifLocation{Physical: physical(l.Pos.Filename, l.Pos.Line, l.Pos.Column), Message: &sarifText{l.What}})
	}
	return r
}

func physical(file string, line, column int) sarifPhysical {
	return sarifPhysical{Artifact: sarifArtifact{URI: file, URIBaseID: "%SRCROOT%"}, Region: sarifRegion{StartLine: max(line, 1), StartColumn: column}}
}
