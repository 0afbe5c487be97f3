package domain

import (
	"crypto/rand"
	"encoding/base32"
	"strings"
	"time"
)

// Limits on guessing the second factor (ASVS 5.0 6.3.1).
const (
	MaxChallengeAttempts = 5  // codes for one challenge
	MaxFactorFailures    = 10 // wrong codes in a row, over all challenges
	FactorLock           = 15 * time.Minute
)

// RecoveryCodes is how many codes a user gets.
const RecoveryCodes = 10

// recoveryBits is the entropy of a recovery code: above the 112 bits from which a plain hash may keep it (ASVS 5.0 6.5.2).
const recoveryBits = 120

// crockford leaves out the letters that are taken for digits.
var crockford = base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").WithPadding(base32.NoPadding)

// NewRecoveryCode returns a code of 24 letters and digits in groups of four.
func NewRecoveryCode() string {
	bits := make([]byte, recoveryBits/8)
	_, _ = rand.Read(bits) // it never fails; it ends the process instead
	s := crockford.EncodeToString(bits)
	groups := make([]string, 0, len(s)/4)
	for ; s != ""; s = s[4:] {
		groups = append(groups, s[:4])
	}
	return strings.Join(groups, "-")
}
