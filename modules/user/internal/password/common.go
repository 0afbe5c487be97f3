package password

import (
	_ "embed"
	"strings"

	"golang.org/x/text/unicode/norm"
)

// commonList holds common passwords of at least 8 characters in lower case, each between two line breaks: the first 3000
// such entries of the password list of zxcvbn 4.4.2 (common/LICENSE), which was counted from published leaks, and the names and words
// that are more common still.
//
//go:embed common/passwords.txt
var commonList string

// Common reports whether a password is one of the 3000 most common ones of at least 8 characters, in any letter case (ASVS 5.0 6.2.4).
// It reads the whole list, which takes some microseconds: nothing beside a hash.
func Common(password string) bool {
	s := strings.ToLower(Normalise(password))
	return !strings.Contains(s, "\n") && strings.Contains(commonList, "\n"+s+"\n")
}

// Normalise returns the one form that all ways to type the same password have: Unicode's NFC, as in the OpaqueString profile (RFC 8265
// section 4.2). Nothing else is changed: no letter case, no spaces, no length (ASVS 5.0 6.2.8).
func Normalise(password string) string { return norm.NFC.String(password) }
