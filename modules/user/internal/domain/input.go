package domain

import (
	"net/mail"
	"strings"
	"unicode"
	"unicode/utf8"

	"cleave/platform/fault"
)

// Limits of what a user may choose.
const (
	MaxEmailBytes       = 254 // RFC 5321 section 4.5.3.1.3, without the angle brackets
	MaxDisplayNameRunes = 100
)

// Email is an e-mail address as its owner writes it.
type Email string

// NewEmail checks an address: RFC 5322 syntax without a display name, comments, quoting or an address literal, at most
// MaxEmailBytes long. Any other is a fault of kind Unprocessable at path.
func NewEmail(path, s string) (Email, error) {
	if len(s) > MaxEmailBytes {
		return "", outOfBounds(path, "too_long", "must have at most 254 bytes")
	}
	a, err := mail.ParseAddress(s)
	if err != nil || a.Name != "" || a.Address != s || strings.Contains(s, "@[") || strings.ContainsFunc(s, unprintable) {
		return "", outOfBounds(path, "format", "must be an e-mail address such as ada@example.com")
	}
	return Email(s), nil
}

// Lower is the form in which addresses are compared, which letter case does not tell apart.
func (e Email) Lower() string { return strings.ToLower(string(e)) }

// CheckDisplayName accepts 1 to MaxDisplayNameRunes printable characters that neither begin nor end with a space; others
// are a fault of kind Unprocessable at path.
func CheckDisplayName(path, s string) error {
	switch {
	case !utf8.ValidString(s) || strings.ContainsFunc(s, unprintable):
		return outOfBounds(path, "pattern", "must not hold control characters")
	case s == "" || strings.TrimSpace(s) != s:
		return outOfBounds(path, "pattern", "must not be empty or have a space at either end")
	case utf8.RuneCountInString(s) > MaxDisplayNameRunes:
		return outOfBounds(path, "too_long", "must have at most 100 characters")
	}
	return nil
}

func unprintable(r rune) bool { return unicode.IsControl(r) || r == utf8.RuneError }

// outOfBounds is the fault of a value that is well-formed and not allowed.
func outOfBounds(path, code, message string) error {
	return fault.New(fault.Unprocessable, "", "%s %s", path, message).With(fault.Field{Path: path, Code: code, Message: message})
}
