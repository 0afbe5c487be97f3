// Package arch holds the boundary rules: what keeps a modular monolith
// splittable, checked on its source.
//
// A World is a Go module with its business modules below modules/. Check runs
// the rules on it and returns what they found. Rules are of three kinds: of a
// package, which also run one by one under go vet (see Analyzers), of a
// business module, which follow calls through its packages, and of the world.
package arch

import (
	"cmp"
	"fmt"
	"go/token"
	"slices"
	"strings"
)

// Rule is one boundary.
type Rule struct {
	Name   string // as in //cleave:allow NAME REASON
	Reason string // what goes wrong without it
	Fix    string // what to do instead
	Note   bool   // reports what is worth knowing and forbids nothing

	pkg    func(*pass) // for each package and variant
	module func(*pass) // for each business module
	world  func(*pass) // once
}

// Finding is one violation of a rule, or one note.
type Finding struct {
	Rule    *Rule
	Pos     token.Position // its file is relative to the root of the World
	Message string         // names no line, so that it identifies the finding in a baseline
	Chain   []Link         // the shortest way that shows it; nil when Pos does
	Fix     string         // the rule's, or a better one for this case
	Waived  string         // the reason of the waiver that allows it
	Known   bool           // it is in the baseline

	pos token.Pos // NoPos in a file that is not Go
}

// Link is one step of a chain.
type Link struct {
	What string
	Pos  token.Position
}

// Key identifies the finding while lines move: it is its line in a baseline.
func (f Finding) Key() string {
	return f.Rule.Name + " " + f.Pos.Filename + ": " + f.Message
}

// Rules returns all rules, in the order of docs/boundaries.md.
func Rules() []*Rule {
	return slices.Concat(importRules(), edgeRules(), tableRules(), eventRules(), contractRules(), behaviourRules(), waiverRules())
}

// Result is what a run of the rules has found.
type Result struct {
	Findings []Finding // by file and line, those that waivers allow too
	Waivers  []Waiver  // all there are, by file and line
}

// Check runs all rules on the world.
func Check(w *World) Result {
	c := newCheck(w)
	for _, r := range Rules() {
		c.run(r)
	}
	waivers := waiversIn(w)
	c.sort()
	c.applyWaivers(waivers)
	c.sort()
	return Result{Findings: c.findings, Waivers: waivers}
}

func newCheck(w *World) *check {
	return &check{world: w, programs: map[string]*program{}, sql: map[*Package][]codeUse{}, folders: map[string]*folder{}}
}

func (c *check) runPackages(r *Rule) {
	for _, pkg := range c.world.Packages {
		r.pkg(&pass{check: c, rule: r, pkg: pkg})
	}
}

func (c *check) run(r *Rule) {
	p := pass{check: c, rule: r}
	if r.pkg != nil {
		c.runPackages(r)
	}
	if r.module != nil {
		for _, m := range c.world.Modules {
			p.module = m
			r.module(&p)
		}
		p.module = nil
	}
	if r.world != nil {
		r.world(&p)
	}
}

// check is one run of the rules.
type check struct {
	world    *World
	findings []Finding
	programs map[string]*program // by module
	sql      map[*Package][]codeUse
	folders  map[string]*folder // by module
}

// sort orders the findings and drops repeats.
func (c *check) sort() {
	slices.SortStableFunc(c.findings, func(a, b Finding) int {
		return cmp.Or(comparePositions(a.Pos, b.Pos), strings.Compare(a.Rule.Name, b.Rule.Name), strings.Compare(a.Message, b.Message))
	})
	c.findings = slices.CompactFunc(c.findings, func(a, b Finding) bool {
		return a.Rule == b.Rule && a.Message == b.Message && a.Pos.Filename == b.Pos.Filename && a.Pos.Line == b.Pos.Line
	})
}

func comparePositions(a, b token.Position) int {
	return cmp.Or(strings.Compare(a.Filename, b.Filename), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
}

// pass is one rule on one package, on one module or on the world.
type pass struct {
	*check
	rule   *Rule
	pkg    *Package
	module *Module
}

// at reports a violation at a node of the world's files.
func (p *pass) at(pos token.Pos, chain []Link, format string, args ...any) {
	p.add(Finding{pos: pos, Pos: p.world.at(pos), Chain: chain, Message: fmt.Sprintf(format, args...)})
}

func (p *pass) add(f Finding) {
	f.Rule = p.rule
	if f.Fix == "" {
		f.Fix = p.rule.Fix
	}
	p.findings = append(p.findings, f)
}

// program is the calls of a module, made once for all rules.
func (p *pass) program(module string) *program {
	if p.programs[module] == nil {
		p.programs[module] = newProgram(p.world, module)
	}
	return p.programs[module]
}

// World reports whether the rule looks at all modules together.
func (r *Rule) World() bool { return r.world != nil || r.Name == baselineRule }
