package trust

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"cleave/platform/auth"
)

const (
	tokenType   = "cleave-call+jwt" // #nosec G101 -- a type, so that no other token passes for one, nor it for another (RFC 8725 section 3.11)
	lifetime    = time.Minute
	leeway      = 5 * time.Second // clock difference granted to exp and iat
	maxTokenLen = 16 << 10        // bytes; longer ones are refused unread
	maxChain    = 4               // certificates in x5c
)

// foreignHeaders would name another key, or demand an extension that is not there (RFC 7515 section 4.1).
var foreignHeaders = []string{"jwk", "jku", "x5u", "kid", "crit"}

// claims is the payload: iss is the SPIFFE id of the caller, aud the callee, and the rest the principal, in as few bytes as that takes,
// because they go with every call. Lists tell nothing from an empty one, as auth.Principal does.
type claims struct {
	jwt.RegisteredClaims
	UserIssuer    string    `json:"uiss,omitempty"`
	IssuerSubject string    `json:"usub,omitempty"`
	Session       string    `json:"sid,omitempty"`
	Client        string    `json:"client_id,omitempty"`
	Actor         string    `json:"uact,omitempty"`
	Generation    int64     `json:"gen,omitempty"`
	Roles         []string  `json:"roles,omitzero"`
	Scopes        []string  `json:"scopes,omitzero"`
	UserAudience  []string  `json:"uaud,omitzero"`
	UserExpires   time.Time `json:"uexp,omitzero"`
}

func (c *claims) principal() auth.Principal {
	return auth.Principal{
		Issuer: c.UserIssuer, Subject: c.Subject, IssuerSubject: c.IssuerSubject, Session: c.Session, Client: c.Client, Actor: c.Actor,
		Generation: c.Generation, Roles: c.Roles, Scopes: c.Scopes, Audience: c.UserAudience, Expires: c.UserExpires,
	}
}

// word returns the metadata by which this process vouches for p towards the callee, the same for some time: read only. With chain it
// carries the certificate whose key signs it.
func (m *material) word(callee string, p auth.Principal, chain bool, now time.Time) (map[string]string, error) {
	key := keyOf(callee, &p)
	if t, ok := m.signed.Get(key); ok && now.Before(t.renew) {
		return t.metadata, nil
	}
	token, err := m.sign(callee, p, chain, now)
	if err != nil {
		return nil, fmt.Errorf("vouch for %s towards %s: %w", p.Subject, callee, err)
	}
	t := signedToken{map[string]string{tokenKey: token}, now.Add(lifetime / 2)}
	m.signed.Add(key, t)
	return t.metadata, nil
}

func (m *material) sign(callee string, p auth.Principal, chain bool, now time.Time) (string, error) {
	now = now.Truncate(jwt.TimePrecision)
	t := jwt.NewWithClaims(jwt.SigningMethodES256, claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: m.peer.ID, Subject: p.Subject, Audience: jwt.ClaimStrings{callee},
			IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(lifetime)),
		},
		UserIssuer: p.Issuer, IssuerSubject: p.IssuerSubject, Session: p.Session, Client: p.Client, Actor: p.Actor,
		Generation: p.Generation, Roles: p.Roles, Scopes: p.Scopes, UserAudience: p.Audience, UserExpires: p.Expires,
	})
	t.Header["typ"] = tokenType
	if chain {
		t.Header["x5c"] = m.x5c
	}
	return t.SignedString(m.key)
}

// sender is the process that a token came from, and the key of its certificate when the connection showed one.
type sender struct {
	Peer
	key *ecdsa.PublicKey
}

// check verifies a token for the module callee.
func (m *material) check(token string, from sender, callee string, now time.Time) (checkedToken, error) {
	if len(token) > maxTokenLen {
		return checkedToken{}, fmt.Errorf("longer than %d bytes", maxTokenLen)
	}
	parser := jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodES256.Alg()}), jwt.WithStrictDecoding(),
		jwt.WithIssuer(from.ID), jwt.WithAudience(callee), jwt.WithExpirationRequired(), jwt.WithIssuedAt(),
		jwt.WithLeeway(leeway), jwt.WithTimeFunc(func() time.Time { return now }),
	)
	var c claims
	var signer proven
	_, err := parser.ParseWithClaims(token, &c, func(t *jwt.Token) (any, error) {
		var err error
		signer, err = m.signer(t.Header, from, now)
		return signer.key, err
	})
	switch {
	case err != nil:
		return checkedToken{}, err
	case len(c.Audience) != 1:
		return checkedToken{}, errors.New("for more than one module")
	case c.IssuedAt == nil || c.ExpiresAt.Sub(c.IssuedAt.Time) > lifetime:
		return checkedToken{}, fmt.Errorf("lives for longer than %s", lifetime)
	}
	expires := c.ExpiresAt.Add(leeway)
	if !signer.notAfter.IsZero() && signer.notAfter.Before(expires) {
		expires = signer.notAfter
	}
	return checkedToken{principal: c.principal(), caller: from.ID, callee: callee, expires: expires}, nil
}

// signer returns whose key must have signed a token: the sender's, which the connection has proven, or else that of the certificate
// in the header, which must prove the same process.
func (m *material) signer(header map[string]any, from sender, now time.Time) (proven, error) {
	if typ, _ := header["typ"].(string); !strings.EqualFold(typ, tokenType) {
		return proven{}, errors.New("typ is not " + tokenType)
	}
	for _, h := range foreignHeaders {
		if _, ok := header[h]; ok {
			return proven{}, errors.New("header " + h + " is not accepted")
		}
	}
	if from.key != nil {
		if _, ok := header["x5c"]; ok {
			return proven{}, errors.New("header x5c is not accepted where the connection has a certificate")
		}
		return proven{peer: from.Peer, key: from.key}, nil
	}
	p, err := m.enclosed(header, now)
	if err == nil && p.peer.ID != from.ID {
		err = fmt.Errorf("signed by %s, sent by %s", p.peer.ID, from.ID)
	}
	return p, err
}

// enclosed proves the certificate in a token's header.
func (m *material) enclosed(header map[string]any, now time.Time) (proven, error) {
	list, _ := header["x5c"].([]any)
	if len(list) == 0 || len(list) > maxChain {
		return proven{}, fmt.Errorf("x5c is not a list of 1 to %d certificates", maxChain)
	}
	name, _ := list[0].(string)
	if p, ok := m.checked.signers.Get(name); ok && now.Before(p.notAfter) {
		return p, nil
	}
	chain := make([]*x509.Certificate, len(list))
	for n, v := range list {
		text, _ := v.(string)
		der, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return proven{}, fmt.Errorf("x5c: %w", err)
		}
		if chain[n], err = x509.ParseCertificate(der); err != nil {
			return proven{}, fmt.Errorf("x5c: %w", err)
		}
	}
	p, err := m.prove(chain, now)
	if err != nil {
		return proven{}, fmt.Errorf("x5c: %w", err)
	}
	m.checked.signers.Add(name, p)
	return p, nil
}
