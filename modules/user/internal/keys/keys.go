// Package keys keeps the keys that sign tokens: one that signs now, the next one, which is published long before it signs, and
// former ones for as long as tokens of theirs may be about. All replicas share them through the module's database.
package keys

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
	"log/slog"
	"sync/atomic"
	"time"

	"cleave/modules/user/internal/store"
	"cleave/platform/auth"
	"cleave/platform/db"
	"cleave/platform/fault"
)

// Options are what a Ring is made of. DB, Store, Log and Now must be set.
type Options struct {
	DB    *db.DB
	Store *store.Store
	Log   *slog.Logger
	Now   func() time.Time
	// Secret is the key-encryption key; "" keeps the keys plain. Old is the secret that was in use before.
	Secret, Old string
	// Rotation is how long a key signs; 0 leaves rotation to the command.
	Rotation time.Duration
}

// Ring is the issuer's keys. It implements auth.KeySource and is safe for concurrent use.
type Ring struct {
	o       Options
	sealer  *sealer
	old     *sealer
	current atomic.Pointer[snapshot]
}

// snapshot is the keys as they were read last, by age, the oldest first.
type snapshot struct {
	rows    []store.SigningKey
	private []*ecdsa.PrivateKey // of the rows
}

// Open reads the keys, makes those that are missing, and brings their encryption up to date. When a key is encrypted with
// another secret than those given, it fails with Invalid, code key_encryption_key.
func Open(ctx context.Context, o Options) (*Ring, error) {
	r := &Ring{o: o}
	var err error
	if r.sealer, err = newSealer(o.Secret); err != nil {
		return nil, err
	}
	if r.old, err = newSealer(o.Old); err != nil {
		return nil, err
	}
	if err := r.fill(ctx); err != nil {
		return nil, fmt.Errorf("make the signing keys: %w", err)
	}
	if err := r.reseal(ctx); err != nil {
		return nil, err
	}
	return r, r.load(ctx)
}

// Encrypted reports whether private keys are encrypted in the database.
func (r *Ring) Encrypted() bool { return r.sealer != nil }

// Signing returns the key that signs now.
func (r *Ring) Signing() auth.SigningKey {
	s := r.current.Load()
	i := signing(s.rows, r.o.Now())
	return auth.SigningKey{ID: s.rows[i].Kid, Private: s.private[i]}
}

// signing is the place of the key that signs at a time: the youngest that has become active. When the clock is behind that of
// the replica that made the first key, it is the oldest.
func signing(keys []store.SigningKey, now time.Time) int {
	for i := len(keys) - 1; i >= 0; i-- {
		if at := keys[i].ActivatesAt; at != 0 && at <= db.Micros(now) {
			return i
		}
	}
	return 0
}

// PublicKeys implements auth.KeySource. It reads the database, so that no key of another replica is missed, and needs no secret.
func (r *Ring) PublicKeys(ctx context.Context) (map[string]*ecdsa.PublicKey, error) {
	rows, err := r.o.Store.SigningKeys(ctx)
	if err != nil {
		return nil, err
	}
	public := make(map[string]*ecdsa.PublicKey, len(rows))
	for _, row := range rows {
		if public[row.Kid], err = r.public(row); err != nil {
			return nil, err
		}
	}
	return public, nil
}

// load puts the keys of the database in use.
func (r *Ring) load(ctx context.Context) error {
	rows, err := r.o.Store.SigningKeys(ctx)
	if err != nil {
		return fmt.Errorf("load the signing keys: %w", err)
	}
	if len(rows) == 0 {
		return errors.New("load the signing keys: there are none")
	}
	known := map[string]*ecdsa.PrivateKey{}
	if s := r.current.Load(); s != nil {
		for i, row := range s.rows {
			known[row.Kid] = s.private[i]
		}
	}
	s := &snapshot{rows: rows, private: make([]*ecdsa.PrivateKey, len(rows))}
	for i, row := range rows {
		if s.private[i] = known[row.Kid]; s.private[i] != nil {
			continue
		}
		if s.private[i], err = r.private(row); err != nil {
			return err
		}
	}
	r.current.Store(s)
	return nil
}

func (r *Ring) private(row store.SigningKey) (*ecdsa.PrivateKey, error) {
	var by *sealer
	switch row.SealedBy {
	case "":
	case r.sealer.name():
		by = r.sealer
	case r.old.name():
		by = r.old
	default:
		return nil, fault.New(fault.Invalid, "key_encryption_key",
			"the signing key %s is encrypted with another secret than auth.key_encryption_key: give the one it was encrypted with as auth.key_encryption_key_old", row.Kid)
	}
	der, err := by.open(row.Kid, row.PrivateKey)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("parse the signing key %s: %w", row.Kid, err)
	}
	private, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("the signing key %s is no ECDSA key", row.Kid)
	}
	return private, nil
}

func (r *Ring) public(row store.SigningKey) (*ecdsa.PublicKey, error) {
	if len(row.PublicKey) == 0 { // of the release that kept private keys alone
		private, err := r.private(row)
		if err != nil {
			return nil, err
		}
		return &private.PublicKey, nil
	}
	parsed, err := x509.ParsePKIXPublicKey(row.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("parse the public key %s: %w", row.Kid, err)
	}
	public, ok := parsed.(*ecdsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("the public key %s is no ECDSA key", row.Kid)
	}
	return public, nil
}

// make generates a key of the given place, to sign from a time; 0 for the next one.
func (r *Ring) make(seq int, activatesAt int64) (store.SigningKey, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return store.SigningKey{}, err
	}
	plain, public, err := encode(private)
	if err != nil {
		return store.SigningKey{}, err
	}
	kid, err := thumbprint(&private.PublicKey)
	if err != nil {
		return store.SigningKey{}, err
	}
	return store.SigningKey{
		Seq: seq, Kid: kid, PrivateKey: r.sealer.seal(kid, plain), PublicKey: public, SealedBy: r.sealer.name(),
		ActivatesAt: activatesAt, CreatedAt: db.Micros(r.o.Now()),
	}, nil
}

// encode returns a key in the forms that the database keeps, PKCS #8 and PKIX.
func encode(k *ecdsa.PrivateKey) (private, public []byte, err error) {
	if private, err = x509.MarshalPKCS8PrivateKey(k); err != nil {
		return nil, nil, err
	}
	public, err = x509.MarshalPKIXPublicKey(&k.PublicKey)
	return private, public, err
}

// thumbprint is the key's JWK SHA-256 thumbprint (RFC 7638).
func thumbprint(k *ecdsa.PublicKey) (string, error) {
	x, y, err := coordinates(k)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(`{"crv":"P-256","kty":"EC","x":"` + x + `","y":"` + y + `"}`))
	return base64.RawURLEncoding.EncodeToString(sum[:]), nil
}

// coordinates are x and y at full length, as base64url (RFC 7518 section 6.2.1).
func coordinates(k *ecdsa.PublicKey) (x, y string, err error) {
	point, err := k.Bytes() // 4, then both coordinates
	if err != nil {
		return "", "", err
	}
	half := 1 + (len(point)-1)/2
	b64 := base64.RawURLEncoding
	return b64.EncodeToString(point[1:half]), b64.EncodeToString(point[half:]), nil
}
