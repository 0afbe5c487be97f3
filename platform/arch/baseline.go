package arch

import (
	"fmt"
	"go/token"
	"slices"
	"strings"
)

const baselineRule = "baseline"

// Baseline is the known violations of code that was there before the rules: the
// Key of each finding, one per line, sorted; lines that begin with # are
// comments. It may only shrink.
type Baseline struct {
	Name    string // of the file, relative to the root
	entries []entry
}

type entry struct {
	key  string
	line int
}

// ParseBaseline reads the content of a baseline.
func ParseBaseline(name string, content []byte) *Baseline {
	b := &Baseline{Name: name}
	for i, line := range strings.Split(string(content), "\n") {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			b.entries = append(b.entries, entry{key: line, line: i + 1})
		}
	}
	return b
}

// Len is the number of known violations.
func (b *Baseline) Len() int { return len(b.entries) }

// Apply marks the findings that the baseline knows, each entry one, and
// returns findings about the baseline itself: entries that no longer occur, and
// with before not nil, the baseline as it was, entries that are new.
func (b *Baseline) Apply(findings []Finding, before *Baseline) []Finding {
	rule := ruleNamed(baselineRule)
	var wrong []Finding
	report := func(e entry, what string) {
		wrong = append(wrong, Finding{
			Rule: rule, Fix: rule.Fix, Pos: token.Position{Filename: b.Name, Line: e.line, Column: 1}, Message: fmt.Sprintf("%s: %s", what, e.key),
		})
	}
	left := map[string]int{}
	if before != nil {
		for _, e := range before.entries {
			left[e.key]++
		}
	}
	for _, e := range b.entries {
		i := slices.IndexFunc(findings, func(f Finding) bool { return f.counts() && f.Key() == e.key })
		if i < 0 {
			report(e, "this no longer occurs")
			continue
		}
		findings[i].Known = true
		if before != nil {
			if left[e.key]--; left[e.key] < 0 {
				report(e, "the baseline may not grow")
			}
		}
	}
	return wrong
}

func ruleNamed(name string) *Rule {
	rules := Rules()
	return rules[slices.IndexFunc(rules, func(r *Rule) bool { return r.Name == name })]
}

// counts reports whether a finding is a violation that nothing allows.
func (f Finding) counts() bool { return !f.Rule.Note && f.Waived == "" && !f.Known }

// Violations are the findings that nothing allows.
func Violations(findings []Finding) []Finding {
	var found []Finding
	for _, f := range findings {
		if f.counts() {
			found = append(found, f)
		}
	}
	return found
}

// NewBaseline returns the content of a baseline of all that counts.
func NewBaseline(findings []Finding) []byte {
	var keys []string
	for _, f := range findings {
		if f.counts() && f.Rule.Name != waiverRule && f.Rule.Name != baselineRule {
			keys = append(keys, f.Key())
		}
	}
	slices.Sort(keys)
	return []byte("# Known violations of docs/boundaries.md. This file may only shrink.\n" + strings.Join(append(keys, ""), "\n"))
}
