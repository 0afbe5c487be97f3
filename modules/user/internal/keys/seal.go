package keys

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// sealer encrypts private keys with AES-256-GCM under a key-encryption key (ASVS 5.0 11.3.2 and 13.3.3). The nil sealer
// stands for no encryption.
type sealer struct {
	id   string // tells which secret has sealed a key, and nothing about the secret
	aead cipher.AEAD
}

// newSealer derives the key-encryption key from a secret, which must not be guessable; nil for the empty secret.
func newSealer(secret string) (*sealer, error) {
	if secret == "" {
		return nil, nil
	}
	key, err := hkdf.Key(sha256.New, []byte(secret), nil, "cleave signing keys: encryption", 32)
	if err != nil {
		return nil, err
	}
	id, err := hkdf.Key(sha256.New, []byte(secret), nil, "cleave signing keys: id", 8)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return &sealer{id: hex.EncodeToString(id), aead: aead}, err
}

// name is what the database keeps beside a key: "" for a plain one.
func (s *sealer) name() string {
	if s == nil {
		return ""
	}
	return s.id
}

// seal encrypts a key; the id of the key is bound to it, so that no row can take the place of another.
func (s *sealer) seal(kid string, plain []byte) []byte {
	if s == nil {
		return plain
	}
	return s.aead.Seal(nil, nil, plain, []byte(kid)) // #nosec G407 -- the AEAD draws the nonce itself
}

func (s *sealer) open(kid string, sealed []byte) ([]byte, error) {
	if s == nil {
		return sealed, nil
	}
	plain, err := s.aead.Open(nil, nil, sealed, []byte(kid))
	if err != nil {
		return nil, fmt.Errorf("decrypt the signing key %s: %w", kid, err)
	}
	return plain, nil
}
