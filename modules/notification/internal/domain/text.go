package domain

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of texts that come from elsewhere, in bytes. With them, a title stays
// within the 200 and a body within the 4000 characters that the API promises.
const (
	maxLine = 100
	maxText = 2000
)

// Line returns s as a single line of at most 100 bytes: control characters and
// line breaks become spaces.
func Line(s string) string {
	return strings.TrimSpace(clip(clean(s, false), maxLine))
}

// Text returns s as text of at most 2000 bytes that may have line breaks.
func Text(s string) string {
	s = strings.ReplaceAll(s, "\r\n", "\n")
	return strings.TrimSpace(clip(clean(s, true), maxText))
}

func clean(s string, lines bool) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' && lines:
			return r
		case unicode.IsControl(r), r == '\u2028', r == '\u2029':
			return ' '
		case unicode.Is(unicode.Bidi_Control, r): // turns what follows around
			return -1
		default:
			return r
		}
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

func clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}
