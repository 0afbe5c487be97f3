package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"fmt"
	"strings"
)

const minRSABits = 2048 // RFC 7518 section 3.3

// PublicKey is a key that another issuer publishes (RFC 7517).
type PublicKey struct {
	Key       crypto.PublicKey
	Algorithm string // the only one that it is for; "": any that fits its type
}

// asymmetric are the algorithms that can be allowed (RFC 7518 section 3.1, RFC 8037), with the bits of their curve. Those with a
// shared secret are not among them: whoever could check a token could make one.
var asymmetric = map[string]int{
	"RS256": 0, "RS384": 0, "RS512": 0, "PS256": 0, "PS384": 0, "PS512": 0, "ES256": 256, "ES384": 384, "ES512": 521, "EdDSA": 0,
}

// fits is nil when the key may verify tokens of the algorithm: a key is for one kind of algorithm only, whatever a token says
// (RFC 8725 sections 3.1 and 3.2).
func (k PublicKey) fits(algorithm string) error {
	if k.Algorithm != "" && k.Algorithm != algorithm {
		return fmt.Errorf("the key is for %s, not for %s", k.Algorithm, algorithm)
	}
	ok := false
	switch key := k.Key.(type) {
	case *rsa.PublicKey:
		ok = (strings.HasPrefix(algorithm, "RS") || strings.HasPrefix(algorithm, "PS")) && key.N.BitLen() >= minRSABits
	case *ecdsa.PublicKey:
		ok = strings.HasPrefix(algorithm, "ES") && key.Curve.Params().BitSize == asymmetric[algorithm]
	case ed25519.PublicKey:
		ok = algorithm == "EdDSA"
	}
	if !ok {
		return fmt.Errorf("a key of type %T, or of its size, is not for %s", k.Key, algorithm)
	}
	return nil
}
