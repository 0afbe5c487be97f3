package auth

import (
	"crypto/ecdsa"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
)

// tokenType is the header's typ of an access token (RFC 9068 section 2.1).
const tokenType = "at+jwt"

// claims is the payload of an access token (RFC 9068 section 2.2).
type claims struct {
	jwt.RegisteredClaims
	Session string   `json:"sid,omitempty"`
	Roles   []string `json:"roles,omitempty"`
}

// Signer issues access tokens with one key.
type Signer struct {
	key      *ecdsa.PrivateKey
	kid      string
	issuer   string
	audience []string
	ttl      time.Duration
	now      func() time.Time
}

// NewSigner returns a signer of tokens that name kid, are for every audience and live for ttl.
// The key must be on P-256 (RFC 7518 section 3.4); any other makes Sign fail.
func NewSigner(key *ecdsa.PrivateKey, kid, issuer string, audience []string, ttl time.Duration, now func() time.Time) *Signer {
	return &Signer{key: key, kid: kid, issuer: issuer, audience: audience, ttl: ttl, now: now}
}

// Sign returns an access token for p and the time from which it is no longer valid.
func (s *Signer) Sign(p Principal) (token string, expires time.Time, err error) {
	now := s.now().UTC().Truncate(time.Second)
	expires = now.Add(s.ttl)
	id, err := uuid.NewRandom()
	if err != nil {
		return "", time.Time{}, fmt.Errorf("make a token id: %w", err)
	}
	t := jwt.NewWithClaims(jwt.SigningMethodES256, claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer:    s.issuer,
			Subject:   p.Subject,
			Audience:  s.audience,
			ExpiresAt: jwt.NewNumericDate(expires),
			IssuedAt:  jwt.NewNumericDate(now),
			ID:        id.String(),
		},
		Session: p.Session,
		Roles:   p.Roles,
	})
	t.Header["typ"] = tokenType
	t.Header["kid"] = s.kid
	token, err = t.SignedString(s.key)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("sign a token for %s: %w", p.Subject, err)
	}
	return token, expires, nil
}
