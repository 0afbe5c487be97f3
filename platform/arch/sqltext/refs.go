package sqltext

import "slices"

// Kind is how a text names a table.
type Kind uint8

// The kinds of references.
const (
	Table  Kind = iota // it is read, written, changed, granted or locked
	Join               // it is joined with what stands before it
	Key                // REFERENCES
	Column             // a.b outside the places of tables: Schema.Name, or Name is a column of the table Schema
	Schema             // the name of a schema after SCHEMA; Name is empty
)

// Ref is a name in an SQL text. Names of common table expressions, aliases and
// functions are left out.
type Ref struct {
	Schema, Name string // as written, lower case unless quoted
	Kind         Kind
	Statement    int // counts the statements of the text from 0
	Offset       int // of the name, in bytes
}

// Refs returns the tables that a text names, those in the bodies of functions
// and in what is executed dynamically too.
func Refs(sql string) []Ref {
	var refs []Ref
	statement := 0
	for _, tokens := range statements(lex(sql)) {
		s := &scan{tokens: tokens, statement: statement}
		s.run()
		refs = append(refs, s.refs...)
		for i, t := range tokens {
			if s.isCode(i) {
				for _, r := range Refs(t.text) {
					statement++
					r.Statement, r.Offset = statement, t.off
					refs = append(refs, r)
				}
			}
		}
		statement++
	}
	return refs
}

func statements(tokens []token) [][]token {
	var all [][]token
	start := 0
	for i, t := range tokens {
		if t.is(";") {
			all = append(all, tokens[start:i])
			start = i + 1
		}
	}
	return append(all, tokens[start:])
}

// scan reads one statement.
type scan struct {
	tokens    []token
	statement int
	refs      []Ref
	local     map[string]bool // names that are not tables: of common table expressions, and aliases
	places    map[int]bool    // tokens that are read as part of a table's name
}

func (s *scan) run() {
	s.local, s.places = map[string]bool{}, map[int]bool{}
	s.findExpressions()
	var calls []string // the name before each open parenthesis
	for i, t := range s.tokens {
		switch {
		case t.is("("):
			calls = append(calls, s.at(i-1).text)
		case t.is(")") && len(calls) > 0:
			calls = calls[:len(calls)-1]
		case t.kind == word:
			inside := ""
			if len(calls) > 0 {
				inside = calls[len(calls)-1]
			}
			s.keyword(i, inside)
		case t.kind == text:
			s.constant(i)
		}
	}
	s.columns()
	s.refs = slices.DeleteFunc(s.refs, func(r Ref) bool {
		return r.Kind != Key && r.Schema == "" && s.local[r.Name] || r.Kind == Column && s.local[r.Schema]
	})
}

// isCode reports whether the token at i is a string that is run as SQL.
func (s *scan) isCode(i int) bool {
	return s.at(i).kind == text && (s.at(i).code || s.is(i-1, "execute", "as"))
}

func (s *scan) at(i int) token {
	if i < 0 || i >= len(s.tokens) {
		return token{kind: symbol}
	}
	return s.tokens[i]
}

func (s *scan) is(i int, words ...string) bool {
	return slices.ContainsFunc(words, s.at(i).is)
}

// findExpressions notes the names of common table expressions.
func (s *scan) findExpressions() {
	if !slices.ContainsFunc(s.tokens, func(t token) bool { return t.is("with") }) {
		return
	}
	for i, t := range s.tokens {
		if !t.isName() || !s.is(i-1, "with", "recursive", ",") {
			continue
		}
		next := i + 1
		if s.is(next, "(") {
			next = s.closing(next) + 1
		}
		if !s.is(next, "as") {
			continue
		}
		for next++; s.is(next, "not", "materialized"); next++ {
		}
		if s.is(next, "(") {
			s.local[t.text] = true
		}
	}
}

// closing is where the parenthesis that opens at i closes.
func (s *scan) closing(i int) int {
	depth := 0
	for ; i < len(s.tokens); i++ {
		switch {
		case s.is(i, "("):
			depth++
		case s.is(i, ")"):
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return i
}

// keyword reads the tables that follow the word at i.
func (s *scan) keyword(i int, inside string) {
	switch s.tokens[i].text {
	case "from":
		if !s.is(i-1, "distinct") && !slices.Contains([]string{"extract", "substring", "trim", "overlay", "position"}, inside) {
			s.from(i + 1)
		}
	case "using":
		if s.is(0, "delete", "merge") && !s.is(i+1, "(") {
			s.from(i + 1)
		}
	case "join":
		s.item(i+1, Join, false)
	case "into", "copy":
		s.item(i+1, Table, true)
	case "update":
		if s.is(i+1, "of") && s.is(i-1, "for", "key") {
			s.list(i+2, Table)
		} else if !s.is(i-1, "for", "key", "do", "on", "before", "after", "or", "of", ",", ".") {
			s.item(i+1, Table, false)
		}
	case "table", "view", "sequence", "lock":
		s.list(i+1, Table)
	case "truncate":
		if !s.is(i-1, "or", "before", "after", ",") {
			s.list(i+1, Table)
		}
	case "references":
		s.item(i+1, Key, true)
	case "schema":
		if n := s.skip(i+1, "if", "not", "exists"); s.isTable(n) {
			s.refs = append(s.refs, Ref{Schema: s.tokens[n].text, Kind: Schema, Statement: s.statement, Offset: s.tokens[n].off})
		}
	case "on":
		if s.is(0, "create", "grant", "revoke", "comment", "drop", "alter") && !s.is(i+1, "conflict", "delete", "update") {
			s.item(i+1, Table, true)
		}
	}
}

// from reads a list of tables, with commas between the items also after joins.
func (s *scan) from(i int) {
	s.item(i, Table, false)
	for ; i < len(s.tokens); i++ {
		switch {
		case s.is(i, "("):
			i = s.closing(i)
		case s.is(i, ")", "where", "group", "order", "limit", "having", "union", "intersect", "except", "window", "for", "returning", "set", "when"):
			return
		case s.is(i, ","):
			s.item(i+1, Join, false)
		}
	}
}

// list reads names with commas between them.
func (s *scan) list(i int, k Kind) {
	for {
		i = s.item(i, k, true)
		if !s.is(i, ",") {
			return
		}
		i++
	}
}

func (s *scan) skip(i int, words ...string) int {
	for s.is(i, words...) {
		i++
	}
	return i
}

// item reads a table and its alias, and returns where it ends. call says that
// a parenthesis may follow without making the name a function's.
func (s *scan) item(i int, k Kind, call bool) int {
	i = s.skip(i, "table", "if", "not", "exists", "only", "lateral", "concurrently", "sequence", "view")
	if s.at(i).kind == unknown && s.is(i+1, ".") {
		i += 2 // a schema that is known at run time
	}
	if s.is(i, "(") {
		return s.alias(s.closing(i) + 1)
	}
	if !s.isTable(i) {
		return i
	}
	if s.places[i] {
		return i + 1
	}
	ref := Ref{Name: s.tokens[i].text, Kind: k, Statement: s.statement, Offset: s.tokens[i].off}
	s.places[i] = true
	for s.is(i+1, ".") && s.at(i+2).isName() {
		i += 2
		ref.Schema, ref.Name = ref.Name, s.tokens[i].text
		s.places[i] = true
	}
	next := s.at(i + 1)
	glued := (next.kind == unknown || s.at(i-1).kind == unknown) && (next.off == s.tokens[i].end || s.at(i-1).end == s.tokens[i].off)
	if !glued && (call || !next.is("(")) {
		s.refs = append(s.refs, ref)
	}
	if i++; s.is(i, "(") && !call {
		i = s.closing(i) + 1
	}
	return s.alias(i)
}

// alias notes the name that a table, a function or a subquery is given at i,
// and returns what follows.
func (s *scan) alias(i int) int {
	if s.is(i, "as") {
		i++
	}
	if s.isTable(i) && !s.is(i+1, ".") {
		s.local[s.tokens[i].text] = true
		i++
	}
	return i
}

// isTable reports whether a name stands at i, not a keyword.
func (s *scan) isTable(i int) bool {
	t := s.at(i)
	return t.kind == quoted || t.kind == word && !slices.Contains(reserved(), t.text)
}

func reserved() []string {
	return []string{
		"add", "all", "alter", "and", "any", "as", "by", "check", "column", "conflict", "constraint", "create", "cross", "database", "default", "delete", "do",
		"drop", "else", "end", "exists", "for", "force", "from", "full", "function", "grant", "group", "having", "if", "in", "inner", "insert", "into",
		"is", "join", "lateral", "left", "like", "limit", "natural", "not", "null", "of", "offset", "on", "only", "or", "order", "outer",
		"owner", "primary", "references", "rename", "returning", "right", "schema", "select", "set", "skip", "nowait", "table", "then", "to", "union", "unique",
		"update", "using", "values", "when", "where", "with",
	}
}

// constant reads a name in a string: nextval('seq') or 'name'::regclass.
func (s *scan) constant(i int) {
	cast := s.is(i+1, ":") && s.is(i+2, ":") && s.is(i+3, "regclass")
	call := s.is(i-1, "(") && s.is(i-2, "nextval", "currval", "setval", "to_regclass", "pg_get_serial_sequence")
	if !cast && !call {
		return
	}
	inner := &scan{tokens: lex(s.tokens[i].text), statement: s.statement, local: map[string]bool{}, places: map[int]bool{}}
	inner.item(0, Table, false)
	for _, r := range inner.refs {
		r.Offset = s.tokens[i].off
		s.refs = append(s.refs, r)
	}
}

// columns reads the qualified names outside the places of tables.
func (s *scan) columns() {
	for i, t := range s.tokens {
		if t.isName() && !s.places[i] && s.is(i+1, ".") && s.at(i+2).isName() && !s.is(i-1, ".") {
			s.refs = append(s.refs, Ref{Schema: t.text, Name: s.tokens[i+2].text, Kind: Column, Statement: s.statement, Offset: t.off})
		}
	}
}
