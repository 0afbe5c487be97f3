package db

import (
	"context"
	"crypto/rand"
	"encoding/hex"
)

// Identity names the database with the module's tables: every process on it reads the same text, and on another one another text.
func (d *DB) Identity(ctx context.Context) (string, error) {
	const size = 16
	id, err := d.Secret(ctx, "database", size)
	return hex.EncodeToString(id), err
}

// Secret returns the module's named secret of size random bytes: the first
// replica to ask makes it, and all read the same.
func (d *DB) Secret(ctx context.Context, name string, size int) ([]byte, error) {
	secret := make([]byte, size)
	if _, err := rand.Read(secret); err != nil {
		return nil, err
	}
	err := d.Tx(ctx, func(ctx context.Context) error {
		err := d.Conn(ctx).Exec("INSERT INTO secrets (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING", name, secret).Error
		if err != nil {
			return err
		}
		return d.Conn(ctx).Raw("SELECT value FROM secrets WHERE name = ?", name).Row().Scan(&secret)
	})
	return secret, err
}
