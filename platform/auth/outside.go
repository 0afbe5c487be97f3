package auth

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
)

// maxSubject is the longest subject of an outside issuer, in bytes (OpenID Connect Core section 2).
const maxSubject = 255

// OutsideIssuer is an issuer that is not ours, and what its tokens give. All of Issuer, Audience, Algorithms, SubjectClaim and Keys
// must be set.
//
// A claim is named by its path: parts of names that are separated by dots lead into objects, and a name with dots in it is found first.
type OutsideIssuer struct {
	Issuer       string   // iss of its tokens, compared byte by byte
	Audience     string   // what aud must hold
	Algorithms   []string // asymmetric ones only
	Type         string   // what the header's typ must be; "": at+jwt, JWT, or none at all
	SubjectClaim string   // who it is, in all tokens of the issuer and for ever
	RolesClaim   string   // a text or a list of texts that Roles translates; "" for none
	Roles        []RoleMapping
	ScopeClaim   string // a list, or a text separated by spaces, of what the token is limited to; "": it is not
	DefaultRole  string // of those whom no mapping gives one; "" for none
	// Keys fetches the keys that the issuer publishes, by key id.
	Keys func(ctx context.Context) (map[string]PublicKey, error)
}

// RoleMapping gives a role to those whose RolesClaim has a value. Scopes belong to the role service alone, which has nothing without.
type RoleMapping struct {
	Value  string
	Role   string
	Scopes []string
}

// outside verifies the tokens of one issuer.
type outside struct {
	OutsideIssuer
	parser *jwt.Parser
	keys   *remoteKeys
}

// SubjectOf is the subject of a user of an outside issuer: a UUID made of the SHA-256 hash of issuer and subject (RFC 9562 section
// 5.8), the same in every process and for ever. Its version is 8, ours have 7, so that no issuer can give somebody the id of a user of
// ours, or of another issuer's.
func SubjectOf(issuer, subject string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "cleave subject\x00%d\x00%s\x00%s", len(issuer), issuer, subject))
	id := uuid.UUID(sum[:16])
	id[6] = id[6]&0x0f | 0x80 // version 8
	id[8] = id[8]&0x3f | 0x80 // variant of RFC 9562
	return id.String()
}

// check verifies a token that claims to be of the issuer. It fails like Verifier.Verify.
func (o *outside) check(ctx context.Context, token string) (verifiedToken, error) {
	claims := jwt.MapClaims{}
	var kid string
	_, err := o.parser.ParseWithClaims(token, claims, func(t *jwt.Token) (any, error) {
		if err := o.checkHeader(t.Header); err != nil {
			return nil, err
		}
		kid, _ = t.Header["kid"].(string)
		key, err := o.keys.get(ctx, kid)
		if err == nil {
			err = key.fits(t.Method.Alg())
		}
		return key.Key, err
	})
	if err != nil {
		return verifiedToken{}, refusal(err)
	}
	p, err := o.principal(claims)
	if err != nil {
		return verifiedToken{}, errToken.Wrap(err)
	}
	return verifiedToken{principal: p, keys: o.keys, kid: kid, expires: p.Expires.Add(leeway)}, nil
}

// checkHeader refuses tokens of another kind: what signs access tokens may sign logout tokens, too (RFC 8725 section 3.11).
func (o *outside) checkHeader(header map[string]any) error {
	if err := noForeignKey(header); err != nil {
		return err
	}
	typ, isText := header["typ"].(string)
	typ = mediaType(typ)
	switch _, given := header["typ"]; {
	case given && !isText:
		return errors.New("typ is not a text")
	case o.Type != "" && typ != mediaType(o.Type):
		return errors.New("typ is not " + o.Type)
	case o.Type == "" && typ != "" && typ != "jwt" && typ != tokenType:
		return errors.New("typ is neither at+jwt nor JWT")
	}
	return nil
}

// mediaType is a typ without the prefix that may be left out (RFC 7515 section 4.1.9).
func mediaType(typ string) string { return strings.TrimPrefix(strings.ToLower(typ), "application/") }

func (o *outside) principal(claims map[string]any) (Principal, error) {
	subject, _ := lookup(claims, o.SubjectClaim).(string)
	expires, err := jwt.MapClaims(claims).GetExpirationTime()
	switch {
	case subject == "" || len(subject) > maxSubject:
		return Principal{}, fmt.Errorf("%s is no text of 1 to %d bytes", o.SubjectClaim, maxSubject)
	case err != nil:
		return Principal{}, err
	case claims["cnf"] != nil: // RFC 7800: whoever presents it must prove to have a key, which is not asked for here
		return Principal{}, errors.New("the token is bound to a key")
	}
	p := Principal{Issuer: o.Issuer, Subject: SubjectOf(o.Issuer, subject), IssuerSubject: subject, Expires: expires.Time}
	p.Audience, _ = jwt.MapClaims(claims).GetAudience()
	has := texts(lookup(claims, o.RolesClaim))
	for _, m := range o.Roles {
		if slices.Contains(has, m.Value) {
			p.Roles, p.Scopes = append(p.Roles, m.Role), append(p.Scopes, m.Scopes...)
		}
	}
	if len(p.Roles) == 0 && o.DefaultRole != "" {
		p.Roles = []string{o.DefaultRole}
	}
	if o.ScopeClaim == "" {
		return p, nil
	}
	for _, text := range texts(lookup(claims, o.ScopeClaim)) {
		p.Scopes = append(p.Scopes, strings.Fields(text)...)
	}
	if len(p.Scopes) == 0 {
		p.Roles = nil // a Principal without scopes is not limited, but this one is limited to nothing
	}
	return p, nil
}

// lookup returns the claim at a path, nil when there is none.
func lookup(claims any, path string) any {
	m, ok := claims.(map[string]any)
	if !ok || path == "" {
		return nil
	}
	if v, ok := m[path]; ok {
		return v
	}
	for i := range len(path) {
		if path[i] != '.' {
			continue
		}
		if v := lookup(m[path[:i]], path[i+1:]); v != nil {
			return v
		}
	}
	return nil
}

// texts are the texts of a claim that is one or a list of them; what is neither has none.
func texts(claim any) []string {
	switch v := claim.(type) {
	case string:
		return []string{v}
	case []any:
		var out []string
		for _, e := range v {
			if s, ok := e.(string); ok {
				out = append(out, s)
			}
		}
		return out
	}
	return nil
}
