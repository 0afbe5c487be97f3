package app

import (
	"context"
	"crypto/rand"
	"math/big"
	"time"

	"cleave/modules/user/internal/domain"
	"cleave/modules/user/internal/store"
	"cleave/platform/auth"
)

const (
	keyPrefix   = "cleave_pk_" // lets people and scanners of secrets tell what it is
	prefixChars = 8            // of the key itself that stay visible
	maxAPIKeys  = 100          // of one user
	keyClient   = "cleave:api-key"
)

// NewAPIKey is what a user wants a key for.
type NewAPIKey struct {
	Name   string
	Scopes []string // permissions, or what they begin with
	TTL    time.Duration
}

// CreateAPIKey makes a key for a program that acts for the caller, who must know their password, and returns it: it is kept only as
// its hash (ASVS 5.0 6.5.2: it has 256 bits). The scopes only take away from what the user may do. ErrPasswordWrong; ErrAPIKeyLimit.
func (a *App) CreateAPIKey(ctx context.Context, p auth.Principal, given string, n NewAPIKey) (key string, made store.APIKey, err error) {
	u, err := a.confirmPassword(ctx, p.Subject, given)
	if err != nil {
		return "", made, err
	}
	if err := domain.CheckDisplayName("/name", n.Name); err != nil {
		return "", made, err
	}
	key = keyPrefix + alphanumeric()
	now := a.now()
	made = store.APIKey{
		ID: a.NewID(), UserID: u.ID, Name: n.Name, Prefix: key[:len(keyPrefix)+prefixChars], Scopes: n.Scopes, CreatedAt: now, ExpiresAt: now.Add(n.TTL),
	}
	return key, made, a.DB.Tx(ctx, func(ctx context.Context) error {
		if _, err := a.Store.UserForUpdate(ctx, u.ID); err != nil {
			return err
		}
		inserted, err := a.Store.InsertAPIKey(ctx, made, hashToken(key), maxAPIKeys)
		switch {
		case err != nil:
			return err
		case !inserted:
			return domain.ErrAPIKeyLimit
		}
		return a.audited(ctx, "user:api_key:create", u.ID, map[string]string{"key": made.ID})
	})
}

// alphanumeric returns 256 random bits in letters and digits alone, which a double click selects as a whole.
func alphanumeric() string {
	const bytes, base = 32, 62
	bits := make([]byte, bytes+1)
	_, _ = rand.Read(bits[1:]) // it never fails; it ends the process instead
	bits[0] = 1                // so that the length is always the same
	return new(big.Int).SetBytes(bits).Text(base)
}

// APIKeys reads the caller's keys, the newest first.
func (a *App) APIKeys(ctx context.Context, userID string) ([]store.APIKey, error) {
	return a.Store.APIKeys(ctx, userID, maxAPIKeys)
}

// RevokeAPIKey ends one of the caller's keys together with the access tokens that it was traded for. ErrAPIKeyNotFound.
func (a *App) RevokeAPIKey(ctx context.Context, userID, id string) error {
	return a.DB.Tx(ctx, func(ctx context.Context) error {
		deleted, err := a.Store.DeleteAPIKey(ctx, userID, id)
		switch {
		case err != nil:
			return err
		case !deleted:
			return domain.ErrAPIKeyNotFound
		}
		if err := a.revoke(ctx, userID, id); err != nil {
			return err
		}
		return a.audited(ctx, "user:api_key:revoke", userID, map[string]string{"key": id})
	})
}

// AccessToken is what an API key was traded for.
type AccessToken struct {
	UserID    string
	Access    string
	ExpiresIn time.Duration
	Scopes    []string
}

// ExchangeAPIKey trades a key for an access token, which every module verifies by itself, so that no request looks a key up; it ends
// with the key at the latest. A key that does not hold is ErrAPIKey; that of a disabled user is ErrLogInDisabled.
func (a *App) ExchangeAPIKey(ctx context.Context, key string) (AccessToken, error) {
	now := a.now()
	var t AccessToken
	err := a.DB.Tx(ctx, func(ctx context.Context) error {
		k, err := a.Store.UseAPIKey(ctx, hashToken(key), now)
		if err != nil {
			return err
		}
		u, err := a.Store.User(ctx, k.UserID)
		switch {
		case err != nil:
			return err
		case u.Disabled:
			return domain.ErrLogInDisabled
		}
		roles, err := a.rolesOf(ctx, u)
		if err != nil {
			return err
		}
		access, expires, err := a.Signer.SignFor(auth.Principal{
			Subject: u.ID, Session: k.ID, Client: keyClient, Generation: u.Version, Roles: roles, Scopes: k.Scopes,
		}, a.Audience, k.ExpiresAt)
		t = AccessToken{UserID: u.ID, Access: access, ExpiresIn: expires.Sub(now), Scopes: k.Scopes}
		return err
	})
	return t, err
}
