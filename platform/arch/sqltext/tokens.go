package sqltext

// Token is a piece of an SQL text. Comments are none.
type Token struct {
	Text   string // lower case for words; names and constants without their quotes
	Name   bool   // a word, or a quoted name
	Quoted bool   // a quoted name
	String bool   // a constant
	Code   bool   // a constant between dollars
	Offset int    // in bytes
}

// Statements returns the tokens of each statement of a text.
func Statements(sql string) [][]Token {
	var all [][]Token
	for _, tokens := range statements(lex(sql)) {
		if len(tokens) == 0 {
			continue
		}
		out := make([]Token, len(tokens))
		for i, t := range tokens {
			out[i] = Token{Text: t.text, Name: t.isName(), Quoted: t.kind == quoted, String: t.kind == text, Code: t.code, Offset: t.off}
		}
		all = append(all, out)
	}
	return all
}
