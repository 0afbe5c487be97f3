package rest

import (
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"cleave/platform/fault"
)

const (
	maxJSONDepth  = 32  // nested arrays and objects
	maxJSONNumber = 100 // characters
)

// parseJSON reads exactly one JSON text (RFC 8259), more strictly than encoding/json: valid UTF-8, no
// repeated names (RFC 7493 section 2.3), no NUL and no lone surrogates in strings, and at most
// maxJSONDepth levels. The value is nil, bool, string, int64, json.Number (a number that is not
// written as an int64), []any or map[string]any. The error is a fault of kind Invalid, code
// json_malformed, that names the byte.
func parseJSON(data []byte) (any, error) {
	p := jsonParser{data: data}
	v := p.value(0)
	p.space()
	if p.fault == nil && p.pos < len(p.data) {
		p.fail("there is something after the JSON value")
	}
	if p.fault != nil {
		return nil, p.fault
	}
	return v, nil
}

type jsonParser struct {
	data  []byte
	pos   int
	fault *fault.Error // the first; the parser stops there
}

func (p *jsonParser) fail(format string, args ...any) {
	if p.fault == nil {
		p.fault = fault.New(fault.Invalid, "json_malformed", "the body is not acceptable JSON at byte %d: %s", p.pos, fmt.Sprintf(format, args...))
	}
}

// peek is the byte at the position, and 0 at the end, which is never valid outside a string.
func (p *jsonParser) peek() byte {
	if p.pos < len(p.data) {
		return p.data[p.pos]
	}
	return 0
}

func (p *jsonParser) space() {
	for p.pos < len(p.data) {
		switch p.data[p.pos] {
		case ' ', '\t', '\n', '\r':
			p.pos++
		default:
			return
		}
	}
}

func (p *jsonParser) value(depth int) any {
	p.space()
	switch c := p.peek(); {
	case p.pos == len(p.data):
		p.fail("it ends before a value")
	case depth > maxJSONDepth:
		p.fail("it is nested deeper than %d levels", maxJSONDepth)
	case c == '{':
		return p.object(depth + 1)
	case c == '[':
		return p.array(depth + 1)
	case c == '"':
		return p.text()
	case c == '-' || '0' <= c && c <= '9':
		return p.number()
	case p.literal("true"):
		return true
	case p.literal("false"):
		return false
	case p.literal("null"):
	default:
		p.fail("expected a value")
	}
	return nil
}

func (p *jsonParser) literal(word string) bool {
	if len(p.data)-p.pos < len(word) || string(p.data[p.pos:p.pos+len(word)]) != word {
		return false
	}
	p.pos += len(word)
	return true
}

func (p *jsonParser) object(depth int) any {
	m := map[string]any{}
	p.pos++
	for p.space(); p.fault == nil; p.space() {
		if len(m) == 0 && p.peek() == '}' {
			p.pos++
			return m
		}
		if p.peek() != '"' {
			p.fail("expected a member name in double quotes")
			break
		}
		at := p.pos
		name := p.text()
		if _, ok := m[name]; ok {
			p.pos = at
			p.fail("the member name is there twice")
		}
		if p.space(); p.peek() != ':' {
			p.fail("expected a colon")
		}
		if p.fault != nil {
			break
		}
		p.pos++
		m[name] = p.value(depth)
		if p.next('}') {
			return m
		}
	}
	return nil
}

func (p *jsonParser) array(depth int) any {
	a := []any{}
	p.pos++
	for p.fault == nil {
		p.space()
		if len(a) == 0 && p.peek() == ']' {
			p.pos++
			return a
		}
		a = append(a, p.value(depth))
		if p.next(']') {
			return a
		}
	}
	return nil
}

// next passes a comma, or the closing bracket, for which it returns true.
func (p *jsonParser) next(closing byte) bool {
	p.space()
	switch p.peek() {
	case ',':
		p.pos++
	case closing:
		p.pos++
		return p.fault == nil
	default:
		p.fail("expected a comma or %q", string(closing))
	}
	return false
}

func (p *jsonParser) number() any {
	start := p.pos
	whole := true
	p.skip('-')
	if !p.skip('0') && !p.digits() {
		p.fail("expected a digit")
	}
	if p.skip('.') {
		whole = false
		if !p.digits() {
			p.fail("expected a digit after the point")
		}
	}
	if p.skip('e') || p.skip('E') {
		whole = false
		if !p.skip('+') {
			p.skip('-')
		}
		if !p.digits() {
			p.fail("expected a digit in the exponent")
		}
	}
	text := string(p.data[start:p.pos])
	if len(text) > maxJSONNumber {
		p.fail("the number is longer than %d characters", maxJSONNumber)
	}
	if whole {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return n
		}
	}
	return json.Number(text)
}

func (p *jsonParser) skip(c byte) bool {
	if p.peek() != c {
		return false
	}
	p.pos++
	return true
}

func (p *jsonParser) digits() bool {
	start := p.pos
	for c := p.peek(); '0' <= c && c <= '9'; c = p.peek() {
		p.pos++
	}
	return p.pos > start
}

func (p *jsonParser) text() string {
	p.pos++
	start := p.pos
	for p.pos < len(p.data) {
		switch c := p.data[p.pos]; {
		case c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\': // nearly every byte there is
			p.pos++
		case c == '"':
			s := string(p.data[start:p.pos])
			p.pos++
			return s
		case c == '\\':
			return p.escaped(append([]byte(nil), p.data[start:p.pos]...))
		case !p.char(c):
			return ""
		}
	}
	p.fail("a string does not end")
	return ""
}

// char passes one unescaped character.
func (p *jsonParser) char(c byte) bool {
	if c < ' ' {
		p.fail("a control character must be escaped in a string")
		return false
	}
	if c < utf8.RuneSelf {
		p.pos++
		return true
	}
	r, size := utf8.DecodeRune(p.data[p.pos:])
	if r == utf8.RuneError && size == 1 {
		p.fail("it is not valid UTF-8")
		return false
	}
	p.pos += size
	return true
}

// escaped reads on from the first backslash of a string, of which b holds the beginning.
func (p *jsonParser) escaped(b []byte) string {
	for p.fault == nil && p.pos < len(p.data) {
		start := p.pos
		switch c := p.data[p.pos]; {
		case c == '"':
			p.pos++
			return string(b)
		case c == '\\':
			b = p.escape(b)
		case p.char(c):
			b = append(b, p.data[start:p.pos]...)
		}
	}
	p.fail("a string does not end")
	return ""
}

func (p *jsonParser) escape(b []byte) []byte {
	p.pos++
	c := p.peek()
	p.pos++
	switch c {
	case '"', '\\', '/':
		return append(b, c)
	case 'b':
		return append(b, '\b')
	case 'f':
		return append(b, '\f')
	case 'n':
		return append(b, '\n')
	case 'r':
		return append(b, '\r')
	case 't':
		return append(b, '\t')
	case 'u':
		r := p.hex()
		if p.fault == nil && r == 0 {
			p.fail("NUL is not accepted in a string")
		}
		if utf16.IsSurrogate(r) {
			low := rune(0)
			if p.literal(`\u`) {
				low = p.hex()
			}
			if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
				p.fail("a surrogate without its other half is not a character")
			}
		}
		return utf8.AppendRune(b, r)
	default:
		p.pos--
		p.fail("unknown escape in a string")
	}
	return b
}

// hex reads four hexadecimal digits.
func (p *jsonParser) hex() rune {
	if len(p.data)-p.pos < 4 {
		p.fail("expected four hexadecimal digits")
		return 0
	}
	n, err := strconv.ParseUint(string(p.data[p.pos:p.pos+4]), 16, 32)
	if err != nil {
		p.fail("expected four hexadecimal digits")
		return 0
	}
	p.pos += 4
	return rune(n)
}
