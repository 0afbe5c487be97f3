package auth

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	lru "github.com/hashicorp/golang-lru/v2"

	"cleave/platform/fault"
)

const (
	maxTokenLen    = 8 << 10         // bytes; longer ones are refused unread
	verifiedTokens = 8192            // remembered tokens, some 300 bytes each
	leeway         = 5 * time.Second // clock difference granted to exp, nbf and iat
)

// foreignHeaders would let a token bring or point to the key that verifies it (RFC 7515 section
// 4.1), or demand an extension that this verifier does not have ("crit").
var foreignHeaders = []string{"jwk", "jku", "x5c", "x5u", "crit"}

var errRevoked = fault.New(fault.Unauthenticated, "token_revoked", "the session has ended or the user has changed: renew the access token or log in again")

var errToken = fault.New(fault.Unauthenticated, "token_invalid", "the access token is not valid")

// Verifier checks access tokens of the own issuer for one audience, and of the outside issuers that it trusts for theirs.
type Verifier struct {
	keys     *keyring
	outside  *Issuers
	revoked  *Revocations
	parser   *jwt.Parser
	now      func() time.Time
	verified *lru.Cache[[sha256.Size]byte, verifiedToken]
}

type verifiedToken struct {
	principal Principal
	keys      interface{ holds(kid string) bool } // of its issuer
	kid       string
	expires   time.Time
}

// AnyAudience is the audience of a verifier that asks for none: only the issuer itself may use one, to speak about its tokens.
const AnyAudience = ""

// NewVerifier returns a verifier that asks keys for the issuer's public keys when it needs them, and refuses what is revoked.
func NewVerifier(keys KeySource, issuer, audience string, revoked *Revocations, now func() time.Time) *Verifier {
	verified, err := lru.New[[sha256.Size]byte, verifiedToken](verifiedTokens)
	if err != nil {
		panic(err) // only a size below one fails
	}
	options := []jwt.ParserOption{
		jwt.WithValidMethods([]string{jwt.SigningMethodES256.Alg()}),
		jwt.WithIssuer(issuer),
		jwt.WithExpirationRequired(),
		jwt.WithIssuedAt(),
		jwt.WithLeeway(leeway),
		jwt.WithTimeFunc(now),
		jwt.WithStrictDecoding(),
	}
	if audience != AnyAudience {
		options = append(options, jwt.WithAudience(audience))
	}
	return &Verifier{
		keys:     &keyring{source: keys, now: now},
		revoked:  revoked,
		now:      now,
		verified: verified,
		parser:   jwt.NewParser(options...),
	}
}

// Trust lets the verifier accept tokens of these issuers, too. Call it before the first Verify.
func (v *Verifier) Trust(outside *Issuers) { v.outside = outside }

// Verify returns the token's principal. Every defect of the token is a fault of kind
// Unauthenticated (code token_expired, token_revoked or token_invalid, whose cause says why);
// Unavailable when the issuer's keys cannot be had. The signature is checked once per token: until
// the token expires, or its key is withdrawn, the outcome is remembered. A revocation counts at once.
func (v *Verifier) Verify(ctx context.Context, token string) (Principal, error) {
	p, err := v.signed(ctx, token)
	if err == nil && v.revoked.Revoked(p) {
		return Principal{}, errRevoked
	}
	return p, err
}

// While returns a context that also ends when the token of p, which Verify has returned, expires or is revoked: what goes on for longer
// than a request must not outlive the right to it (ASVS 5.0 7.4.1). Call stop when it is over.
func (v *Verifier) While(ctx context.Context, p Principal) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	expiry := time.AfterFunc(p.Expires.Sub(v.now()), cancel)
	unwatch := v.revoked.watch(p, cancel)
	return ctx, func() { unwatch(); expiry.Stop(); cancel() }
}

// signed is Verify without the revocations.
func (v *Verifier) signed(ctx context.Context, token string) (Principal, error) {
	if len(token) > maxTokenLen {
		return Principal{}, errToken.Wrap(errors.New("longer than 8 KiB"))
	}
	var text [1 << 10]byte // most tokens fit: a copy of these is not left to the garbage collector
	sum := sha256.Sum256(append(text[:0], token...))
	if t, ok := v.verified.Get(sum); ok && t.keys.holds(t.kid) {
		if v.now().Before(t.expires) {
			return t.principal, nil
		}
		v.verified.Remove(sum)
	}
	check := v.check
	if o := v.outside.of(token); o != nil {
		check = o.check
	}
	t, err := check(ctx, token)
	if err != nil {
		return Principal{}, err
	}
	v.verified.Add(sum, t)
	return t.principal, nil
}

func (v *Verifier) check(ctx context.Context, token string) (verifiedToken, error) {
	var c claims
	var kid string
	_, err := v.parser.ParseWithClaims(token, &c, func(t *jwt.Token) (any, error) {
		typ, _ := t.Header["typ"].(string)
		if typ = strings.ToLower(typ); typ != tokenType && typ != "application/"+tokenType {
			return nil, errors.New("typ is not at+jwt") // RFC 9068 section 4
		}
		if err := noForeignKey(t.Header); err != nil {
			return nil, err
		}
		kid, _ = t.Header["kid"].(string)
		return v.keys.get(ctx, kid)
	})
	switch {
	case err != nil:
		return verifiedToken{}, refusal(err)
	case c.Subject == "":
		return verifiedToken{}, errToken.Wrap(errors.New("no subject"))
	}
	return verifiedToken{principal: c.principal(), keys: v.keys, kid: kid, expires: c.ExpiresAt.Add(leeway)}, nil
}

// noForeignKey refuses a token whose header would bring its own key.
func noForeignKey(header map[string]any) error {
	for _, h := range foreignHeaders {
		if _, ok := header[h]; ok {
			return errors.New("header " + h + " is not accepted")
		}
	}
	return nil
}

// refusal is the fault of a token that the parser refuses.
func refusal(err error) error {
	var f *fault.Error
	switch {
	case errors.As(err, &f):
		return f
	case errors.Is(err, jwt.ErrTokenExpired):
		return fault.New(fault.Unauthenticated, "token_expired", "the access token has expired").Wrap(err)
	}
	return errToken.Wrap(err)
}

func (c *claims) principal() Principal {
	p := Principal{
		Issuer: c.Issuer, Subject: c.Subject, Session: c.Session, Client: c.Client, Generation: c.Generation,
		Roles: slices.Clip(c.Roles), Scopes: strings.Fields(c.Scope), Audience: c.Audience, Expires: c.ExpiresAt.Time,
	}
	if c.Actor != nil {
		p.Actor = c.Actor.Subject
	}
	return p
}
