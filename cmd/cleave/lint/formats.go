package lint

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"cleave/platform/arch"
)

// formats are the ways to print.
func formats() map[string]func(io.Writer, report) error {
	return map[string]func(io.Writer, report) error{"text": writeText, "json": writeJSON, "sarif": writeSARIF, "github": writeGitHub}
}

// level is how bad a finding is: error, note, or for what is allowed, waived
// and known.
func level(f arch.Finding) string {
	switch {
	case f.Rule.Note:
		return "note"
	case f.Waived != "":
		return "waived"
	case f.Known:
		return "known"
	default:
		return "error"
	}
}

func writeText(out io.Writer, r report) error {
	var b strings.Builder
	counts := map[string]int{}
	for _, f := range r.findings {
		l := level(f)
		counts[l]++
		if l == "waived" || l == "known" {
			continue
		}
		name := f.Rule.Name
		if l == "note" {
			name += " (note)"
		}
		fmt.Fprintf(&b, "%s:%d: %s: %s\n", f.Pos.Filename, f.Pos.Line, name, f.Message)
		for _, link := range f.Chain {
			fmt.Fprintf(&b, "\t%s:%d: %s\n", link.Pos.Filename, link.Pos.Line, link.What)
		}
		fmt.Fprintf(&b, "\twhy: %s\n\tfix: %s\n", f.Rule.Reason, f.Fix)
	}
	if r.baseline != "" {
		fmt.Fprintln(&b, r.baseline)
	}
	fmt.Fprintf(&b, "%d violations, %d notes, %d waived, %d in the baseline\n", counts["error"], counts["note"], counts["waived"], counts["known"])
	_, err := io.WriteString(out, b.String())
	return err
}

// finding is one in JSON.
type finding struct {
	Rule    string `json:"rule"`
	Level   string `json:"level"` // error, note, waived or known
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Message string `json:"message"`
	Reason  string `json:"reason"`
	Fix     string `json:"fix"`
	Waiver  string `json:"waiver,omitempty"`
	Chain   []link `json:"chain,omitempty"`
}

type link struct {
	File string `json:"file"`
	Line int    `json:"line"`
	What string `json:"what"`
}

func writeJSON(out io.Writer, r report) error {
	all := make([]finding, 0, len(r.findings))
	for _, f := range r.findings {
		j := finding{
			Rule: f.Rule.Name, Level: level(f), File: f.Pos.Filename, Line: f.Pos.Line, Column: f.Pos.Column, Message: f.Message,
			Reason: f.Rule.Reason, Fix: f.Fix, Waiver: f.Waived,
		}
		for _, l := range f.Chain {
			j.Chain = append(j.Chain, link{File: l.Pos.Filename, Line: l.Pos.Line, What: l.What})
		}
		all = append(all, j)
	}
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(all)
}

// writeGitHub prints workflow commands that GitHub shows beside the lines:
// docs.github.com, "Workflow commands for GitHub Actions".
func writeGitHub(out io.Writer, r report) error {
	var b strings.Builder
	for _, f := range r.findings {
		command := map[string]string{"error": "error", "note": "notice"}[level(f)]
		if command == "" {
			continue
		}
		text := f.Message
		for _, l := range f.Chain {
			text += fmt.Sprintf("\n%s:%d: %s", l.Pos.Filename, l.Pos.Line, l.What)
		}
		text += "\nwhy: " + f.Rule.Reason + "\nfix: " + f.Fix
		fmt.Fprintf(&b, "::%s file=%s,line=%d,col=%d,title=%s::%s\n", command, property(f.Pos.Filename), f.Pos.Line, max(f.Pos.Column, 1),
			property(f.Rule.Name), data(text))
	}
	if r.baseline != "" {
		fmt.Fprintf(&b, "::notice title=baseline::%s\n", data(r.baseline))
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func data(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(s)
}

func property(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C").Replace(s)
}

func writeWaivers(out io.Writer, waivers []arch.Waiver) error {
	var b strings.Builder
	for _, v := range waivers {
		fmt.Fprintf(&b, "%s:%d: %s: %s\n", v.Pos.Filename, v.Pos.Line, v.Rule, v.Reason)
	}
	fmt.Fprintf(&b, "%d waivers\n", len(waivers))
	_, err := io.WriteString(out, b.String())
	return err
}
