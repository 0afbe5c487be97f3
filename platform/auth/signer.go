package auth

import (
	"crypto/ecdsa"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
)

// tokenType is the header's typ of an access token (RFC 9068 section 2.1).
const tokenType = "at+jwt"

// MaxLifetime is the longest life that the configuration allows an access token.
const MaxLifetime = time.Hour

// claims is the payload of an access token (RFC 9068 section 2.2, and RFC 8693 section 4.1 for act).
type claims struct {
	jwt.RegisteredClaims
	Session    string   `json:"sid,omitempty"`
	Client     string   `json:"client_id,omitempty"`
	Generation int64    `json:"gen,omitempty"`
	Roles      []string `json:"roles,omitempty"`
	Scope      string   `json:"scope,omitempty"`
	Actor      *actor   `json:"act,omitempty"`
}

type actor struct {
	Subject string `json:"sub"`
}

// SigningKey is a key and the id that tokens name it by.
type SigningKey struct {
	ID      string
	Private *ecdsa.PrivateKey // on P-256 (RFC 7518 section 3.4); any other makes signing fail
}

// Signer issues access tokens.
type Signer struct {
	key      func() SigningKey
	issuer   string
	audience []string
	ttl      time.Duration
	now      func() time.Time
}

// NewSigner returns a signer of tokens that live for ttl and, unless said otherwise, are for every audience. It asks key
// for each of them.
func NewSigner(key func() SigningKey, issuer string, audience []string, ttl time.Duration, now func() time.Time) *Signer {
	return &Signer{key: key, issuer: issuer, audience: audience, ttl: ttl, now: now}
}

// Sign returns an access token for p and the time from which it is no longer valid.
func (s *Signer) Sign(p Principal) (token string, expires time.Time, err error) {
	return s.SignFor(p, s.audience, time.Time{})
}

// SignFor is Sign for a narrower audience and, unless notAfter is zero, a token that expires then at the latest.
func (s *Signer) SignFor(p Principal, audience []string, notAfter time.Time) (token string, expires time.Time, err error) {
	now := s.now().UTC().Truncate(time.Second)
	expires = now.Add(s.ttl)
	if !notAfter.IsZero() && notAfter.Before(expires) {
		expires = notAfter
	}
	id, err := uuid.NewRandom()
	if err != nil {
		return "", time.Time{}, fmt.Errorf("make a token id: %w", err)
	}
	c := claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer:    s.issuer,
			Subject:   p.Subject,
			Audience:  audience,
			ExpiresAt: jwt.NewNumericDate(expires),
			IssuedAt:  jwt.NewNumericDate(now),
			ID:        id.String(),
		},
		Session: p.Session, Client: p.Client, Generation: p.Generation, Roles: p.Roles, Scope: strings.Join(p.Scopes, " "),
	}
	if p.Actor != "" {
		c.Actor = &actor{p.Actor}
	}
	key := s.key()
	t := jwt.NewWithClaims(jwt.SigningMethodES256, c)
	t.Header["typ"] = tokenType
	t.Header["kid"] = key.ID
	token, err = t.SignedString(key.Private)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("sign a token for %s: %w", p.Subject, err)
	}
	return token, expires, nil
}
