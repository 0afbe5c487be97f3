package auth

import (
	"context"
	"crypto/ecdsa"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"cleave/platform/fault"
)

const (
	keyFetchGap     = time.Second     // least time between two fetches
	keyFetchTimeout = 5 * time.Second // of one fetch
	keyMaxAge       = 5 * time.Minute // after which a withdrawn key is noticed at the latest
)

// KeySource gives the issuer's current public keys by key id.
type KeySource interface {
	PublicKeys(ctx context.Context) (map[string]*ecdsa.PublicKey, error)
}

// keyring keeps the issuer's keys. It fetches them for a key id it does not know and when they are
// old, never more often than once per keyFetchGap, however many forged ids arrive.
type keyring struct {
	source KeySource
	now    func() time.Time
	keys   atomic.Pointer[map[string]*ecdsa.PublicKey]
	due    atomic.Int64 // unix nanoseconds when the keys are old

	mu    sync.Mutex
	tried time.Time
	err   error // of the last fetch
}

// holds reports whether kid is still one of the issuer's keys, as far as is known.
func (k *keyring) holds(kid string) bool {
	keys := k.keys.Load()
	if keys == nil || k.now().UnixNano() >= k.due.Load() {
		return false
	}
	return (*keys)[kid] != nil
}

// get returns the key of kid: Unauthenticated when the issuer has none, Unavailable when the
// issuer's keys cannot be fetched. Old keys stay in use while the source fails.
func (k *keyring) get(ctx context.Context, kid string) (*ecdsa.PublicKey, error) {
	if k.holds(kid) {
		return (*k.keys.Load())[kid], nil
	}
	err := k.fetch(ctx)
	if keys := k.keys.Load(); keys != nil {
		if key := (*keys)[kid]; key != nil {
			return key, nil
		}
	}
	if err != nil {
		return nil, fault.New(fault.Unavailable, "keys_unavailable", "access tokens cannot be checked at the moment").Wrap(err)
	}
	return nil, fault.New(fault.Unauthenticated, "token_invalid", "the access token is not valid")
}

// fetch refreshes the keys unless that was tried a moment ago, and returns the error of the last try.
func (k *keyring) fetch(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.tried.IsZero() && k.now().Sub(k.tried) < keyFetchGap {
		return k.err
	}
	// The outcome serves every request, so it must not end with this one.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keyFetchTimeout)
	defer cancel()
	keys, err := k.source.PublicKeys(ctx)
	now := k.now()
	k.tried = now // the end: those who waited for this try must not each make their own
	if k.err = err; err != nil {
		return err
	}
	keys = maps.Clone(keys)
	k.keys.Store(&keys)
	k.due.Store(now.Add(keyMaxAge).UnixNano())
	return nil
}
