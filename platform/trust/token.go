package trust

import (
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
	tokenType   = "cleave-call+jwt" // so that no other token passes for one, nor it for another (RFC 8725 section 3.11)
	lifetime    = time.Minute
	leeway      = 5 * time.Second // clock difference granted to exp and iat
	maxTokenLen = 16 << 10        // bytes; longer ones are refused unread
	maxChain    = 4               // certificates in x5c
)

// foreignHeaders would name another key, or demand an extension that is not there (RFC 7515 section 4.1).
var foreignHeaders = []string{"jwk", "jku", "x5u", "kid", "crit"}

// claims is the payload: iss is the SPIFFE id of the caller, aud the callee.
type claims struct {
	jwt.RegisteredClaims
	Principal auth.Principal `json:"principal"`
}

func (m *material) sign(callee string, p auth.Principal, now time.Time) (string, error) {
	now = now.Truncate(jwt.TimePrecision)
	t := jwt.NewWithClaims(jwt.SigningMethodES256, claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: m.peer.ID, Subject: p.Subject, Audience: jwt.ClaimStrings{callee},
			IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(lifetime)),
		},
		Principal: p,
	})
	t.Header["typ"] = tokenType
	t.Header["x5c"] = m.x5c
	token, err := t.SignedString(m.key)
	if err != nil {
		return "", fmt.Errorf("vouch for %s towards %s: %w", p.Subject, callee, err)
	}
	return token, nil
}

// check verifies a token of the process caller for the module callee.
func (m *material) check(token, caller, callee string, now time.Time) (checkedToken, error) {
	if len(token) > maxTokenLen {
		return checkedToken{}, fmt.Errorf("longer than %d bytes", maxTokenLen)
	}
	parser := jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodES256.Alg()}), jwt.WithStrictDecoding(),
		jwt.WithIssuer(caller), jwt.WithAudience(callee), jwt.WithExpirationRequired(), jwt.WithIssuedAt(),
		jwt.WithLeeway(leeway), jwt.WithTimeFunc(func() time.Time { return now }),
	)
	var c claims
	var signer proven
	_, err := parser.ParseWithClaims(token, &c, func(t *jwt.Token) (any, error) {
		var err error
		signer, err = m.signer(t.Header, now)
		if err == nil && signer.peer.ID != caller {
			err = fmt.Errorf("signed by %s, sent by %s", signer.peer.ID, caller)
		}
		return signer.key, err
	})
	switch {
	case err != nil:
		return checkedToken{}, err
	case len(c.Audience) != 1:
		return checkedToken{}, errors.New("for more than one module")
	case c.IssuedAt == nil || c.ExpiresAt.Sub(c.IssuedAt.Time) > lifetime:
		return checkedToken{}, fmt.Errorf("lives for longer than %s", lifetime)
	case c.Subject != c.Principal.Subject:
		return checkedToken{}, errors.New("sub is not the principal's")
	}
	expires := c.ExpiresAt.Add(leeway)
	if signer.notAfter.Before(expires) {
		expires = signer.notAfter
	}
	return checkedToken{principal: c.Principal, caller: caller, callee: callee, expires: expires}, nil
}

// signer proves the certificate in a token's header.
func (m *material) signer(header map[string]any, now time.Time) (proven, error) {
	if typ, _ := header["typ"].(string); !strings.EqualFold(typ, tokenType) {
		return proven{}, errors.New("typ is not " + tokenType)
	}
	for _, h := range foreignHeaders {
		if _, ok := header[h]; ok {
			return proven{}, errors.New("header " + h + " is not accepted")
		}
	}
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
