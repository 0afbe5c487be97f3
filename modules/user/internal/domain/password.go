package domain

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"cleave/platform/fault"
)

// Limits of passwords, in characters (ASVS 5.0 6.2.1 and 6.2.9; NIST SP 800-63B section 5.1.1.2). There are no rules on their kinds
// (6.2.5).
const (
	MinPasswordRunes = 8
	MaxPasswordRunes = 128
)

// product is what people call this service, and so try as a password.
const product = "cleave"

// minWordRunes is the length from which a word that belongs to the user counts as one; shorter ones are part of too many others.
const minWordRunes = 3

// CheckPassword accepts MinPasswordRunes to MaxPasswordRunes characters of any kind that are still as many without the words,
// in lower case, that an attacker would begin with (ASVS 5.0 6.2.11). Any other is a fault of kind Unprocessable at path.
func CheckPassword(path, s string, words ...string) error {
	switch n := utf8.RuneCountInString(s); {
	case n < MinPasswordRunes:
		return outOfBounds(path, "too_short", "must have at least 8 characters")
	case n > MaxPasswordRunes:
		return outOfBounds(path, "too_long", "must have at most 128 characters")
	}
	rest := strings.ToLower(s)
	for _, w := range words {
		rest = strings.ReplaceAll(rest, w, "")
	}
	if utf8.RuneCountInString(rest) < MinPasswordRunes && rest != strings.ToLower(s) {
		return outOfBounds(path, "guessable", "must have at least 8 characters besides your name, your address and the name of this service")
	}
	return nil
}

// ErrCommonPassword refuses one of the passwords that attackers try first (ASVS 5.0 6.2.4).
func ErrCommonPassword(path string) *fault.Error {
	const message = "is one of the most common passwords"
	return fault.New(fault.Unprocessable, "", "%s %s", path, message).With(fault.Field{Path: path, Code: "too_common", Message: message})
}

// PasswordWords are the words of a user that CheckPassword wants: the service's name, and the parts of the user's name and of their
// address before the @, in lower case, the longest first.
func PasswordWords(e Email, displayName string) []string {
	local, _, _ := strings.Cut(e.Lower(), "@")
	name := strings.ToLower(displayName)
	split := func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsNumber(r) }
	words := []string{product, local, name}
	words = append(words, strings.FieldsFunc(local, split)...)
	words = append(words, strings.FieldsFunc(name, split)...)
	words = slices.DeleteFunc(words, func(w string) bool { return utf8.RuneCountInString(w) < minWordRunes })
	slices.SortFunc(words, func(a, b string) int {
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return strings.Compare(a, b)
	})
	return slices.Compact(words)
}
