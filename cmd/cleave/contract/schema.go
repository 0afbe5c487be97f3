package contract

import (
	"slices"

	"cleave/platform/arch/sqltext"
)

// schema is what the released binary knows of a database.
type schema struct {
	tables map[string]bool
	unique map[string]bool // names of unique indexes, and of unique and primary key constraints
	others map[string]bool // views, sequences, functions, types
}

func newSchema() *schema {
	return &schema{tables: map[string]bool{}, unique: map[string]bool{}, others: map[string]bool{}}
}

// release adds what the statements of a released migration create, and takes
// away the tables that they drop.
func (s *schema) release(sql string) {
	for _, statement := range sqltext.Statements(sql) {
		p := &parser{tokens: statement}
		switch {
		case p.take("create"):
			p.skip("or", "replace", "temp", "temporary", "unlogged", "materialized", "virtual")
			switch {
			case p.take("table"):
				s.tables[p.name()] = true
			case p.take("unique"):
				p.take("index")
				s.unique[p.name()] = true
			default:
				if p.takeAny(objects...) != "" {
					s.others[p.name()] = true
				}
			}
		case p.take("drop") && p.take("table"):
			for {
				delete(s.tables, p.name())
				if !p.take(",") {
					break
				}
			}
			continue
		case statement[0].Text == "alter":
		default:
			continue
		}
		for i, t := range statement {
			if t.Text == "constraint" && i+2 < len(statement) && slices.Contains([]string{"unique", "primary"}, statement[i+2].Text) {
				s.unique[statement[i+1].Text] = true
			}
		}
	}
}

// objects are what else a database holds and a binary can use.
var objects = []string{"view", "sequence", "function", "procedure", "type", "domain"}

// breakage is what the released binary would stumble over.
type breakage struct {
	offset          int
	rule, what, fix string
}

// breaks returns how the statements of a new migration break the released
// binary. What the new migrations make themselves is theirs to change.
func (s *schema) breaks(sql string) []breakage {
	var all []breakage
	for _, statement := range sqltext.Statements(sql) {
		all = append(all, s.statement(statement)...)
	}
	return all
}

// Fixes, in the order of a life: expand, release, contract.
const (
	fixDrop   = "leave it until a release that does not use it is out, then drop it"
	fixRename = "add the new name beside the old one, write both for a release, then drop the old one"
	fixAdd    = "let the column be null or give it a default"
	fixTight  = "let a release write only what the rule allows, then add the rule"
)

func (s *schema) statement(tokens []sqltext.Token) []breakage {
	p := &parser{tokens: tokens}
	at := tokens[0].Offset
	switch {
	case p.take("drop"):
		return s.drop(p, at)
	case p.take("alter"):
		if p.take("table") {
			p.skip("if", "exists", "only")
			if table := p.name(); s.tables[table] {
				return alterations(table, s.unique, p.rest())
			}
			return nil
		}
		if object := p.takeAny(objects...); object != "" {
			if name := p.name(); s.others[name] && p.take("rename") {
				return []breakage{{at, "rename", "renames the " + object + " " + name, fixRename}}
			}
		}
	case p.take("create"):
		if !p.take("unique") || !p.take("index") {
			return nil
		}
		for p.more() && !p.take("on") {
			p.next()
		}
		p.skip("only")
		if table := p.name(); s.tables[table] {
			return []breakage{{at, "new-unique", "a new unique index refuses rows of " + table + " that the released binary writes", fixTight}}
		}
	case p.take("pragma"):
		if p.take("writable_schema") {
			return []breakage{{at, "writable-schema", "edits the catalogue of SQLite", "use statements that this check can read"}}
		}
	case p.take("do"):
		return s.dynamic(tokens)
	}
	return nil
}

// dynamic looks into the body of a DO statement, and into what that executes.
func (s *schema) dynamic(tokens []sqltext.Token) []breakage {
	var all []breakage
	for i, t := range tokens {
		if !t.String || !t.Code && (i == 0 || tokens[i-1].Text != "execute") {
			continue
		}
		for _, inner := range sqltext.Statements(t.Text) {
			// BEGIN, IF … THEN and the like stand before statements of a body.
			for j, w := range inner {
				if w.Quoted || !slices.Contains([]string{"alter", "drop", "create"}, w.Text) {
					continue
				}
				all = append(all, s.statement(inner[j:])...)
				break
			}
			all = append(all, s.dynamic(inner)...)
		}
	}
	for i := range all {
		all[i].offset = tokens[0].Offset
	}
	return all
}

func (s *schema) drop(p *parser, at int) []breakage {
	p.skip("materialized")
	object := p.takeAny(append([]string{"table", "index", "schema"}, objects...)...)
	if object == "" {
		return nil
	}
	p.skip("concurrently", "if", "exists")
	var all []breakage
	for {
		name := p.name()
		known := s.others[name]
		switch object {
		case "table":
			known = s.tables[name]
		case "index":
			known = s.unique[name]
		case "schema":
			known = true
		}
		if known {
			what := "drops the " + object + " " + name + ", which the released binary uses"
			if object == "index" {
				what = "drops the unique index " + name + ", which ON CONFLICT of the released binary may name"
			}
			all = append(all, breakage{at, "drop-" + object, what, fixDrop})
		}
		if !p.take(",") {
			return all
		}
	}
}

// parser reads the tokens of a statement one after the other.
type parser struct {
	tokens []sqltext.Token
	i      int
}

func (p *parser) more() bool { return p.i < len(p.tokens) }

func (p *parser) next() sqltext.Token {
	if !p.more() {
		return sqltext.Token{}
	}
	p.i++
	return p.tokens[p.i-1]
}

// take reads the next token when it is the word or mark s.
func (p *parser) take(s string) bool {
	if p.more() && !p.tokens[p.i].Quoted && !p.tokens[p.i].String && p.tokens[p.i].Text == s {
		p.i++
		return true
	}
	return false
}

func (p *parser) takeAny(words ...string) string {
	for _, w := range words {
		if p.take(w) {
			return w
		}
	}
	return ""
}

func (p *parser) skip(words ...string) {
	for p.takeAny(words...) != "" {
		continue
	}
}

// name reads a name and drops its schema.
func (p *parser) name() string {
	p.skip("if", "not", "exists")
	name := p.next().Text
	for p.take(".") {
		name = p.next().Text
	}
	return name
}

func (p *parser) rest() []sqltext.Token { return p.tokens[p.i:] }
