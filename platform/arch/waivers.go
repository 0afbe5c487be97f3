package arch

import (
	"fmt"
	"go/token"
	"slices"
	"strings"
)

// waiverRule is the rule about waivers themselves.
const waiverRule = "waiver"

func waiverRules() []*Rule {
	return []*Rule{
		{
			Name:   waiverRule,
			Reason: "a waiver without a reason cannot be judged later, and one that allows nothing hides the next violation",
			Fix:    "write //cleave:allow RULE REASON on the line or above it, or remove the waiver",
		},
		{
			Name:   baselineRule,
			Reason: "a baseline that keeps or gains entries makes violations normal",
			Fix:    "remove the line from the baseline, or mend what it would add",
		},
	}
}

// Waiver is a comment that allows a violation on its line or, when it stands
// alone, on the first line below it that holds something else.
type Waiver struct {
	Rule, Reason string
	Pos          token.Position
	Used         bool // it allows something

	lines [2]int // it reaches from one to the other
}

const waiverMark = "cleave:allow"

// waiversIn reads the waivers in Go files and migrations.
func waiversIn(w *World) []Waiver {
	var all []Waiver
	for _, pkg := range w.Packages {
		for _, f := range pkg.Files {
			for _, group := range f.AST.Comments {
				end := w.at(group.End()).Line
				for _, c := range group.List {
					if text, ok := strings.CutPrefix(c.Text, "//"+waiverMark); ok {
						pos := w.at(c.Pos())
						all = append(all, newWaiver(text, pos, max(end, pos.Line)+1))
					}
				}
			}
		}
	}
	for _, m := range w.Modules {
		for _, file := range slices.Concat(m.Migrations, m.Queries) {
			for i, line := range strings.Split(file.Text, "\n") {
				if _, text, ok := strings.Cut(line, "-- "+waiverMark); ok {
					all = append(all, newWaiver(text, token.Position{Filename: file.Name, Line: i + 1, Column: 1}, i+2))
				}
			}
		}
	}
	slices.SortStableFunc(all, func(a, b Waiver) int { return comparePositions(a.Pos, b.Pos) })
	return all
}

func newWaiver(text string, pos token.Position, to int) Waiver {
	rule, reason, _ := strings.Cut(strings.TrimSpace(text), " ")
	return Waiver{Rule: rule, Reason: strings.TrimSpace(reason), Pos: pos, lines: [2]int{pos.Line, to}}
}

func (v Waiver) allows(f Finding) bool {
	return v.Rule == f.Rule.Name && v.Reason != "" && v.Pos.Filename == f.Pos.Filename && v.lines[0] <= f.Pos.Line && f.Pos.Line <= v.lines[1]
}

// applyWaivers marks the findings that waivers allow, and reports the waivers
// that are wrong.
func (c *check) applyWaivers(waivers []Waiver) {
	for i := range c.findings {
		for j := range waivers {
			if waivers[j].allows(c.findings[i]) {
				c.findings[i].Waived = waivers[j].Reason
				waivers[j].Used = true
			}
		}
	}
	rules := Rules()
	p := pass{check: c, rule: ruleNamed(waiverRule)}
	for _, v := range waivers {
		known := slices.ContainsFunc(rules, func(r *Rule) bool {
			return r.Name == v.Rule && !r.Note && r.Name != waiverRule && r.Name != baselineRule
		})
		switch {
		case !known:
			p.add(Finding{Pos: v.Pos, Message: fmt.Sprintf("a waiver names %q, which is no rule that can be waived", v.Rule)})
		case v.Reason == "":
			p.add(Finding{Pos: v.Pos, Message: "a waiver of " + v.Rule + " gives no reason"})
		case !v.Used:
			p.add(Finding{Pos: v.Pos, Message: "a waiver of " + v.Rule + " allows nothing"})
		}
	}
}
