package sqltext

import "slices"

// IsSQL reports whether a text is SQL on its face, not prose with SQL's words
// in it: it begins like a statement or a clause, and its keywords are in
// capitals or its punctuation is SQL's.
func IsSQL(s string) bool {
	tokens := lex(s)
	if len(tokens) < 2 {
		return false
	}
	first, rest := tokens[0], tokens[1:]
	if first.kind != word {
		return false
	}
	capitals := first.upper
	follows := func(words ...string) bool {
		for _, t := range rest {
			if t.kind == word && slices.Contains(words, t.text) {
				capitals = capitals && t.upper
				return true
			}
		}
		return false
	}
	switch first.text {
	case "select":
		return follows("from") && (capitals || punctuated(rest))
	case "insert", "merge":
		return rest[0].is("into") && (capitals && rest[0].upper || punctuated(rest))
	case "update":
		return follows("set") && (capitals || punctuated(rest))
	case "delete":
		return rest[0].is("from") && (capitals && rest[0].upper || punctuated(rest))
	case "with":
		return follows("as") && punctuated(rest)
	case "create", "alter", "drop", "truncate", "lock", "comment", "grant", "revoke", "copy":
		return follows("table", "index", "view", "function", "trigger", "schema", "sequence", "on", "to", "from", "only", "temp", "foreign", "server",
			"extension") && (capitals || punctuated(rest))
	case "set", "reset", "attach", "import", "do", "begin":
		return first.upper
	case "left", "right", "inner", "cross", "full", "natural":
		return capitals && follows("join") && capitals
	case "from", "join", "where", "and", "or", "union", "exists", "references", "for", "in", "on", "using", "order", "group", "having", "returning":
		return capitals
	}
	return false
}

// punctuated reports whether there is a mark that prose does not have.
func punctuated(tokens []token) bool {
	for i, t := range tokens {
		if t.kind == quoted || t.kind == symbol && slices.Contains([]string{"*", "?", "=", "$", "(", "<", "@"}, t.text) {
			return true
		}
		if t.is(".") && i > 0 && t.off == tokens[i-1].end && i+1 < len(tokens) && tokens[i+1].off == t.end {
			return true
		}
	}
	return false
}

// Created returns the tables, views and sequences that a text creates or gives
// new names to.
func Created(sql string) []string {
	var names []string
	for _, tokens := range statements(lex(sql)) {
		s := &scan{tokens: tokens}
		i := 0
		switch {
		case s.is(0, "create"):
			i = s.skip(1, "or", "replace", "temp", "temporary", "unlogged", "global", "local", "materialized", "virtual", "recursive", "foreign")
			if !s.is(i, "table", "view", "sequence") {
				continue
			}
			i = s.skip(i+1, "if", "not", "exists")
		case s.is(0, "alter") && s.is(1, "table"):
			i = slices.IndexFunc(tokens, func(t token) bool { return t.is("to") }) + 1
			if i == 0 || !s.is(i-2, "rename") {
				continue
			}
		default:
			continue
		}
		for s.is(i+1, ".") {
			i += 2
		}
		if s.at(i).isName() {
			names = append(names, s.tokens[i].text)
		}
	}
	return names
}

// Found is something in a text and where.
type Found struct {
	What   string
	Offset int
}

// Escapes returns what leaves the schema that the session was given: another
// role, search path, database or server.
func Escapes(sql string) []Found {
	var found []Found
	for _, tokens := range statements(lex(sql)) {
		s := &scan{tokens: tokens}
		for i, t := range tokens {
			if what := s.escape(i); what != "" {
				found = append(found, Found{What: what, Offset: t.off})
			}
			if s.isCode(i) {
				for _, f := range Escapes(t.text) {
					found = append(found, Found{What: f.What, Offset: t.off})
				}
			}
		}
	}
	return found
}

func (s *scan) escape(i int) string {
	switch t := s.tokens[i]; {
	case t.is("set") || t.is("reset"):
		n := s.skip(i+1, "local", "session")
		switch {
		case s.is(n, "search_path"), s.is(n, "role") && i == 0, s.is(n, "authorization"):
			return "SET " + s.tokens[n].text
		case i == 0 && s.is(n, "schema"):
			return "SET schema"
		}
	case t.is("set_config") && s.is(i+1, "(") && s.at(i+2).kind == text && slices.Contains([]string{"search_path", "role"}, s.at(i+2).text):
		return "set_config of " + s.at(i+2).text
	case i == 0 && t.is("attach"):
		return "ATTACH"
	case t.kind == word && slices.Contains([]string{"dblink", "dblink_exec", "dblink_connect", "dblink_send_query", "load_extension"}, t.text) && s.is(i+1, "("):
		return t.text
	case i == 0 && t.is("import") && s.is(1, "foreign"), i == 0 && t.is("create") && s.is(1, "foreign", "server"):
		return "a foreign server"
	case i == 0 && t.is("create") && s.is(1, "extension"):
		n := s.skip(2, "if", "not", "exists")
		if slices.Contains([]string{"postgres_fdw", "dblink", "file_fdw"}, s.at(n).text) {
			return "the extension " + s.at(n).text
		}
	}
	return ""
}

// Volatile returns the functions that read the database's clock or make random
// values.
func Volatile(sql string) []Found {
	var found []Found
	tokens := lex(sql)
	s := &scan{tokens: tokens}
	for i, t := range tokens {
		if t.kind != word || s.is(i-1, ".") {
			continue
		}
		call := s.is(i+1, "(")
		switch t.text {
		case "now", "clock_timestamp", "statement_timestamp", "transaction_timestamp", "gen_random_uuid", "uuid_generate_v4", "uuidv4", "uuidv7",
			"random", "randomblob", "unixepoch", "julianday":
			if call && (t.text != "unixepoch" && t.text != "julianday" || s.is(i+2, ")") || s.at(i+2).text == "now") {
				found = append(found, Found{What: t.text + "()", Offset: t.off})
			}
		case "current_timestamp", "current_time", "current_date", "localtimestamp", "localtime":
			found = append(found, Found{What: t.text, Offset: t.off})
		case "datetime", "strftime", "date", "time":
			if call && slices.ContainsFunc(tokens[i:min(i+6, len(tokens))], func(t token) bool { return t.kind == text && t.text == "now" }) {
				found = append(found, Found{What: t.text + "('now')", Offset: t.off})
			}
		}
	}
	return found
}
