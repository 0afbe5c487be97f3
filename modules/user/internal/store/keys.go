package store

import "context"

// SigningKey is a key that tokens are, were or will be signed with.
type SigningKey struct {
	Seq         int // by age
	Kid         string
	PrivateKey  []byte // PKCS #8, encrypted unless SealedBy is ""
	PublicKey   []byte // PKIX
	SealedBy    string // the id of the secret that it is encrypted with
	ActivatesAt int64  // when it begins to sign, in µs; 0: not decided
	CreatedAt   int64  // in µs
}

// SigningKeys reads all keys, the oldest first.
func (s *Store) SigningKeys(ctx context.Context) ([]SigningKey, error) {
	var keys []SigningKey
	err := s.db.Conn(ctx).Raw(`SELECT seq, kid, private_key, public_key, sealed_by, activates_at, created_at FROM signing_keys ORDER BY seq`).
		Scan(&keys).Error
	return keys, err
}

// InsertSigningKey queues a key; it changes nothing when there is one of that seq already.
func (s *Store) InsertSigningKey(ctx context.Context, k SigningKey) error {
	return s.db.Queue(ctx).Exec(`INSERT INTO signing_keys (seq, kid, private_key, public_key, sealed_by, activates_at, created_at)
		VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		k.Seq, k.Kid, k.PrivateKey, k.PublicKey, k.SealedBy, k.ActivatesAt, k.CreatedAt).Error
}

// ActivateSigningKey decides when a key begins to sign, and reports false when that is decided already.
func (s *Store) ActivateSigningKey(ctx context.Context, kid string, at int64) (bool, error) {
	res := s.db.Conn(ctx).Exec("UPDATE signing_keys SET activates_at = ? WHERE kid = ? AND activates_at = 0", at, kid)
	return res.RowsAffected == 1, res.Error
}

// ResealSigningKey queues another encryption of a key; it changes nothing when another replica has been faster.
func (s *Store) ResealSigningKey(ctx context.Context, k SigningKey, before string) error {
	return s.db.Queue(ctx).Exec("UPDATE signing_keys SET private_key = ?, public_key = ?, sealed_by = ? WHERE kid = ? AND sealed_by = ?",
		k.PrivateKey, k.PublicKey, k.SealedBy, k.Kid, before).Error
}

// DeleteSigningKey forgets a key, and so refuses what it has signed.
func (s *Store) DeleteSigningKey(ctx context.Context, kid string) error {
	return s.db.Tx(ctx, func(ctx context.Context) error {
		return s.db.Queue(ctx).Exec("DELETE FROM signing_keys WHERE kid = ?", kid).Error
	})
}
