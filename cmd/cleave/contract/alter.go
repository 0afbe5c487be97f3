package contract

import (
	"slices"

	"cleave/platform/arch/sqltext"
)

// alterations returns how the actions of ALTER TABLE break the released
// binary, which uses the table.
func alterations(table string, unique map[string]bool, actions []sqltext.Token) []breakage {
	var all []breakage
	for _, action := range split(actions) {
		if len(action) == 0 {
			continue
		}
		if b := alteration(table, unique, action); b.rule != "" {
			b.offset = action[0].Offset
			all = append(all, b)
		}
	}
	return all
}

// split parts a list at the commas outside parentheses.
func split(tokens []sqltext.Token) [][]sqltext.Token {
	var parts [][]sqltext.Token
	depth, start := 0, 0
	for i, t := range tokens {
		if t.String || t.Quoted {
			continue
		}
		switch t.Text {
		case "(":
			depth++
		case ")":
			depth--
		case ",":
			if depth == 0 {
				parts, start = append(parts, tokens[start:i]), i+1
			}
		}
	}
	return append(parts, tokens[start:])
}

func alteration(table string, unique map[string]bool, action []sqltext.Token) breakage {
	p := &parser{tokens: action}
	switch {
	case p.take("drop"):
		if p.take("constraint") {
			p.skip("if", "exists")
			if name := p.name(); unique[name] {
				return breakage{rule: "drop-unique", what: "drops " + name + ", which ON CONFLICT of the released binary may name", fix: fixDrop}
			}
			return breakage{}
		}
		p.skip("column", "if", "exists")
		return breakage{rule: "drop-column", what: "drops " + table + "." + p.name() + ", which the released binary uses", fix: fixDrop}
	case p.take("rename"):
		return breakage{rule: "rename", what: renamed(table, p), fix: fixRename}
	case p.take("set") && p.take("schema"):
		return breakage{rule: "rename", what: "moves " + table + " to another schema", fix: fixRename}
	case p.take("alter"):
		return alterColumn(table, p)
	case p.take("add"):
		return added(table, p)
	}
	return breakage{}
}

func renamed(table string, p *parser) string {
	switch {
	case p.take("to"):
		return "renames the table " + table
	case p.take("constraint"):
		return "renames the constraint " + p.name() + ", by which the released binary knows its violation"
	}
	p.take("column")
	return "renames " + table + "." + p.name()
}

func alterColumn(table string, p *parser) breakage {
	p.take("column")
	column := table + "." + p.name()
	switch {
	case p.take("type"):
		return breakage{rule: "change-type", what: "changes the type of " + column, fix: fixRename}
	case p.take("set"):
		switch {
		case p.take("data"):
			return breakage{rule: "change-type", what: "changes the type of " + column, fix: fixRename}
		case p.take("not"):
			return breakage{rule: "set-not-null", what: "forbids null in " + column + ", which the released binary may write", fix: fixTight}
		}
	case p.take("drop"):
		if p.takeAny("default", "identity", "expression") != "" {
			return breakage{rule: "drop-default", what: "takes the default from " + column + ", which the released binary may leave out", fix: fixDrop}
		}
	case p.take("add"): // GENERATED … AS IDENTITY
		return breakage{rule: "change-type", what: "makes the database fill " + column + ", which the released binary fills", fix: fixRename}
	}
	return breakage{}
}

func added(table string, p *parser) breakage {
	if p.take("constraint") {
		p.name()
	}
	if rule := p.takeAny("check", "unique", "primary", "foreign", "exclude", "not"); rule != "" {
		if rule == "primary" || rule == "exclude" {
			rule = "unique"
		}
		if rule == "not" {
			return breakage{rule: "set-not-null", what: "forbids null in " + table, fix: fixTight}
		}
		return breakage{rule: "new-" + rule, what: "a new " + rule + " rule refuses rows of " + table + " that the released binary writes", fix: fixTight}
	}
	p.take("column")
	column := table + "." + p.name()
	words := p.rest()
	has := func(word string) bool {
		return slices.ContainsFunc(words, func(t sqltext.Token) bool { return !t.String && !t.Quoted && t.Text == word })
	}
	switch {
	case has("check"), has("unique"), has("primary"):
		return breakage{
			rule: "new-check", what: "the rule of the new column " + column + " may refuse rows that the released binary writes",
			fix: "add the column without the rule, and the rule after the next release",
		}
	case pair(words, "not", "null") && (!has("default") || pair(words, "default", "null")) && !has("generated") && !serial(words):
		return breakage{rule: "required-column", what: "the released binary does not fill the new column " + column, fix: fixAdd}
	}
	return breakage{}
}

// pair reports whether the two words follow each other.
func pair(tokens []sqltext.Token, first, second string) bool {
	for i := range tokens[:max(len(tokens)-1, 0)] {
		if tokens[i].Text == first && tokens[i+1].Text == second {
			return true
		}
	}
	return false
}

// serial reports whether the type has a default of its own.
func serial(tokens []sqltext.Token) bool {
	return len(tokens) > 0 && slices.Contains([]string{"serial", "bigserial", "smallserial"}, tokens[0].Text)
}
