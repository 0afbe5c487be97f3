// Package sqltext finds the tables that SQL text names, in statements and in
// the fragments of statements that programs put together.
//
// It reads tokens and the few places of the grammar where tables stand, for
// Postgres and SQLite at once. A full parser would refuse most of what it is
// given: a WHERE without its SELECT, or a statement with parts that are only
// known at run time.
package sqltext

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Unknown stands in a text for what is only known at run time. It is a token
// of its own and never a name.
const Unknown = "\x00"

type kind uint8

const (
	word    kind = iota // an unquoted name or keyword
	quoted              // "name", `name` or [name]
	text                // a string constant
	number              // digits
	symbol              // one byte of punctuation; a parameter is one, too
	unknown             // Unknown
)

type token struct {
	kind kind
	// text is lower case for words, without quotes for quoted names and
	// string constants.
	text  string
	upper bool // a word that is written in capitals
	code  bool // a string constant between dollars, which hold the bodies of functions
	off   int  // in bytes
	end   int
}

func (t token) is(s string) bool { return (t.kind == word || t.kind == symbol) && t.text == s }

func (t token) isName() bool { return t.kind == word || t.kind == quoted }

// lexer splits SQL into tokens and leaves comments out. What it cannot read it
// takes for punctuation.
type lexer struct {
	s      string
	off    int
	tokens []token
}

func lex(s string) []token {
	l := &lexer{s: s}
	for l.off < len(l.s) {
		l.next()
	}
	return l.tokens
}

func (l *lexer) next() {
	rest := l.s[l.off:]
	c := rest[0]
	switch {
	case c == Unknown[0]:
		l.add(unknown, "", 1)
	case c <= ' ':
		l.off++
	case strings.HasPrefix(rest, "--"):
		if end := strings.IndexByte(rest, '\n'); end >= 0 {
			l.off += end
		} else {
			l.off = len(l.s)
		}
	case strings.HasPrefix(rest, "/*"):
		l.off += commentLength(rest)
	case c == '\'':
		l.quote('\'', text, 1, false)
	case (c == 'e' || c == 'E') && len(rest) > 1 && rest[1] == '\'':
		l.quote('\'', text, 2, true)
	case c == '"':
		l.quote('"', quoted, 1, false)
	case c == '`':
		l.quote('`', quoted, 1, false)
	case c == '[':
		l.bracket(rest)
	case c == '$':
		l.dollar(rest)
	case c >= '0' && c <= '9':
		l.add(number, rest[:span(rest, isWord)], span(rest, isWord))
	default:
		if n := span(rest, isWord); n > 0 {
			l.word(rest[:n])
		} else {
			_, size := utf8.DecodeRuneInString(rest)
			l.add(symbol, rest[:size], size)
		}
	}
}

func (l *lexer) add(k kind, s string, length int) {
	l.tokens = append(l.tokens, token{kind: k, text: s, off: l.off, end: l.off + length})
	l.off += length
}

func (l *lexer) word(s string) {
	l.add(word, strings.ToLower(s), len(s))
	l.tokens[len(l.tokens)-1].upper = s == strings.ToUpper(s)
}

// quote reads up to the closing mark, which stands for itself when doubled.
func (l *lexer) quote(mark byte, k kind, skip int, escapes bool) {
	var b strings.Builder
	i := l.off + skip
	for ; i < len(l.s); i++ {
		c := l.s[i]
		if escapes && c == '\\' && i+1 < len(l.s) {
			i++
			c = l.s[i]
		} else if c == mark {
			if i+1 >= len(l.s) || l.s[i+1] != mark {
				i++
				break
			}
			i++
		}
		b.WriteByte(c)
	}
	l.add(k, b.String(), i-l.off)
}

// bracket reads [name], SQLite's third way to quote; [1] and [] are about
// arrays.
func (l *lexer) bracket(rest string) {
	end := strings.IndexByte(rest, ']')
	if end > 1 && span(rest[1:], isWord) == end-1 && (rest[1] < '0' || rest[1] > '9') {
		l.add(quoted, rest[1:end], end+1)
		return
	}
	l.add(symbol, "[", 1)
}

// dollar reads $1, $name or $tag$text$tag$.
func (l *lexer) dollar(rest string) {
	tag := 1 + span(rest[1:], isWord)
	if tag < len(rest) && rest[tag] == '$' {
		mark := rest[:tag+1]
		body := rest[len(mark):]
		if end := strings.Index(body, mark); end >= 0 {
			l.add(text, body[:end], end+2*len(mark))
			l.tokens[len(l.tokens)-1].code = true
			return
		}
	}
	l.add(symbol, "$", tag)
}

func isWord(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) }

// span is the length of the beginning of s whose runes all are ok.
func span(s string, ok func(rune) bool) int {
	for i, r := range s {
		if !ok(r) {
			return i
		}
	}
	return len(s)
}

// commentLength is the length of a comment, which may hold others.
func commentLength(s string) int {
	depth := 0
	for i := 0; i+1 < len(s); i++ {
		switch s[i : i+2] {
		case "/*":
			depth++
			i++
		case "*/":
			depth--
			i++
			if depth == 0 {
				return i + 1
			}
		}
	}
	return len(s)
}
