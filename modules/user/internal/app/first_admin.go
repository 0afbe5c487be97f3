package app

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"cleave/modules/user/internal/domain"
	"cleave/platform/audit"
)

// CreateFirstAdmin makes a user who is customer and administrator, once, for whoever holds the token. Of several calls at
// the same time one succeeds; the others' ErrFirstAdminExists may appear only when the transaction of ctx ends.
func (a *App) CreateFirstAdmin(ctx context.Context, token string, r Registration) (domain.User, error) {
	if err := a.checkFirstAdminToken(ctx, token); err != nil {
		return domain.User{}, err
	}
	u, err := a.newUser(ctx, r, domain.RoleAdmin, domain.RoleCustomer)
	if err != nil {
		return domain.User{}, err
	}
	u.EmailVerified = true // whoever holds the token may say so
	return u, a.DB.Tx(ctx, func(ctx context.Context) error {
		if err := a.Store.InsertUser(ctx, u, a.Currency); err != nil {
			return err
		}
		if err := a.registered(ctx, u); err != nil {
			return err
		}
		a.DB.AfterCommit(ctx, func() { _ = os.Remove(a.TokenFile) }) // void anyway; the next start tries again
		if err := a.Store.InsertFirstAdmin(ctx, u.ID, u.CreatedAt); err != nil {
			return err
		}
		return a.Audit.Append(ctx, audit.Entry{
			Actor: audit.Actor{Issuer: "system", Subject: "first-admin-token"}, Action: "user:create_admin", Object: "user/" + u.ID,
		})
	})
}

func (a *App) checkFirstAdminToken(ctx context.Context, token string) error {
	exists, err := a.Store.HasFirstAdmin(ctx)
	if err != nil {
		return err
	}
	if exists {
		return domain.ErrFirstAdminExists
	}
	good, err := a.Store.HasFirstAdminToken(ctx, hashToken(token))
	if err != nil {
		return err
	}
	if !good {
		return domain.ErrFirstAdminTokenInvalid
	}
	return nil
}

// OfferFirstAdmin returns the token that makes the first administrator, and "" when there is one already. The token stays
// the same while its file does; replicas with files of their own have tokens of their own, each good until one is used.
func (a *App) OfferFirstAdmin(ctx context.Context) (string, error) {
	exists, err := a.Store.HasFirstAdmin(ctx)
	if err != nil {
		return "", err
	}
	if exists {
		if err := os.Remove(a.TokenFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("remove the used token file: %w", err)
		}
		return "", nil
	}
	content, err := os.ReadFile(a.TokenFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read the token file: %w", err)
	}
	token := strings.TrimSpace(string(content))
	if good, err := a.Store.HasFirstAdminToken(ctx, hashToken(token)); err != nil || good {
		return token, err
	}
	token, hash := newToken()
	if err := os.WriteFile(a.TokenFile, []byte(token+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("write the token file: %w", err)
	}
	return token, a.DB.Tx(ctx, func(ctx context.Context) error { return a.Store.InsertFirstAdminToken(ctx, hash, a.now()) })
}

// newToken returns 256 random bits as base64url, and the hash under which they are kept. A token has too much entropy to be
// guessed from a plain hash.
func newToken() (token string, hash string) {
	bits := make([]byte, 32)
	_, _ = rand.Read(bits) // it never fails; it ends the process instead
	token = base64.RawURLEncoding.EncodeToString(bits)
	return token, hashToken(token)
}

func hashToken(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
