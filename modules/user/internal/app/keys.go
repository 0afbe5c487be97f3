package app

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"cleave/modules/user/internal/store"
	"cleave/platform/auth"
	"cleave/platform/db"
)

// Keys are the keys that sign access tokens. Every replica signs with the same one. They implement auth.KeySource.
type Keys struct {
	store  *store.Store
	signer *auth.Signer
}

// Issue says what the tokens claim.
type Issue struct {
	Issuer   string
	Audience []string
	TTL      time.Duration
}

// LoadKeys reads the keys, and makes the first one when there is none.
func LoadKeys(ctx context.Context, d *db.DB, s *store.Store, is Issue, now func() time.Time) (*Keys, error) {
	keys, err := s.SigningKeys(ctx)
	if err == nil && len(keys) == 0 {
		keys, err = firstKey(ctx, d, s, now())
	}
	if err != nil {
		return nil, fmt.Errorf("load the signing keys: %w", err)
	}
	private, err := parse(keys[0])
	if err != nil {
		return nil, err
	}
	return &Keys{store: s, signer: auth.NewSigner(private, keys[0].Kid, is.Issuer, is.Audience, is.TTL, now)}, nil
}

// firstKey offers a key as the first and returns those there are then: another replica may have been faster.
func firstKey(ctx context.Context, d *db.DB, s *store.Store, now time.Time) ([]store.SigningKey, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, err
	}
	kid, err := thumbprint(&private.PublicKey)
	if err != nil {
		return nil, err
	}
	err = d.Tx(ctx, func(ctx context.Context) error {
		return s.InsertSigningKey(ctx, store.SigningKey{Seq: 1, Kid: kid, PrivateKey: der}, now)
	})
	if err != nil {
		return nil, err
	}
	keys, err := s.SigningKeys(ctx)
	if err == nil && len(keys) == 0 {
		err = errors.New("the key that was just written is not there")
	}
	return keys, err
}

// PublicKeys implements auth.KeySource: all keys, read anew each time.
func (k *Keys) PublicKeys(ctx context.Context) (map[string]*ecdsa.PublicKey, error) {
	keys, err := k.store.SigningKeys(ctx)
	if err != nil {
		return nil, err
	}
	public := make(map[string]*ecdsa.PublicKey, len(keys))
	for _, key := range keys {
		private, err := parse(key)
		if err != nil {
			return nil, err
		}
		public[key.Kid] = &private.PublicKey
	}
	return public, nil
}

func parse(k store.SigningKey) (*ecdsa.PrivateKey, error) {
	key, err := x509.ParsePKCS8PrivateKey(k.PrivateKey)
	if err != nil {
		return nil, fmt.Errorf("parse the signing key %s: %w", k.Kid, err)
	}
	private, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("the signing key %s is no ECDSA key", k.Kid)
	}
	return private, nil
}

// thumbprint is the key's JWK SHA-256 thumbprint (RFC 7638).
func thumbprint(k *ecdsa.PublicKey) (string, error) {
	point, err := k.Bytes() // 4, then both coordinates at full length
	if err != nil {
		return "", err
	}
	x, y := point[1:1+(len(point)-1)/2], point[1+(len(point)-1)/2:]
	b64 := base64.RawURLEncoding
	sum := sha256.Sum256([]byte(`{"crv":"P-256","kty":"EC","x":"` + b64.EncodeToString(x) + `","y":"` + b64.EncodeToString(y) + `"}`))
	return b64.EncodeToString(sum[:]), nil
}
