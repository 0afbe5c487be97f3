package store

import (
	"context"
	"time"

	"cleave/platform/db"
)

// SigningKey is a key that access tokens are, or were, signed with.
type SigningKey struct {
	Seq        int // the highest signs
	Kid        string
	PrivateKey []byte // PKCS #8
}

// SigningKeys reads all keys, the one that signs first.
func (s *Store) SigningKeys(ctx context.Context) ([]SigningKey, error) {
	var keys []SigningKey
	err := s.db.Conn(ctx).Raw("SELECT seq, kid, private_key FROM signing_keys ORDER BY seq DESC").Scan(&keys).Error
	return keys, err
}

// InsertSigningKey queues a key; it changes nothing when there is one of that seq already.
func (s *Store) InsertSigningKey(ctx context.Context, k SigningKey, now time.Time) error {
	return s.db.Queue(ctx).Exec("INSERT INTO signing_keys (seq, kid, private_key, created_at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
		k.Seq, k.Kid, k.PrivateKey, db.Micros(now)).Error
}
