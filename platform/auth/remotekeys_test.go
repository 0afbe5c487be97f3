package auth

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"cleave/platform/fault"
)

func TestRemoteKeys_Rotation(t *testing.T) {
	t.Parallel()
	f := setupOutside(t)
	old := f.keycloakToken(t)
	_, err := f.verifier.Verify(t.Context(), old)
	require.NoError(t, err)
	next, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	token := signed(t, jwt.SigningMethodRS256, next, map[string]any{"kid": "k2"}, f.base(keycloak, "shop-api", "f3a1"))

	f.keycloak.set(map[string]PublicKey{"k1": {Key: &f.rsa.PublicKey}, "k2": {Key: &next.PublicKey}}, nil)
	for range 100 {
		_, err = f.verifier.Verify(t.Context(), token)
		require.Equal(t, fault.Unauthenticated, fault.KindOf(err), "the keys were fetched a moment ago")
	}
	require.Equal(t, 1, f.keycloak.fetched())

	f.clock.pass(remoteGap)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := f.verifier.Verify(t.Context(), token); err != nil {
				t.Errorf("got %v", err)
			}
		})
	}
	wg.Wait()
	require.Equal(t, 2, f.keycloak.fetched())

	f.keycloak.set(map[string]PublicKey{"k2": {Key: &next.PublicKey}}, nil)
	old = f.keycloakToken(t, "exp", f.clock.now().Add(time.Hour).Unix())
	_, err = f.verifier.Verify(t.Context(), old)
	require.NoError(t, err)
	f.clock.pass(keyMaxAge)
	_, err = f.verifier.Verify(t.Context(), old)
	require.Equal(t, fault.Unauthenticated, fault.KindOf(err), "its key is withdrawn")
}

func TestRemoteKeys_Unreachable(t *testing.T) {
	t.Parallel()
	f := setupOutside(t)
	down := errors.New("connection refused")
	f.keycloak.set(nil, down)
	token := f.keycloakToken(t, "exp", f.clock.now().Add(24*time.Hour).Unix())
	f.clock.pass(remoteMaxStale - time.Second)
	_, err := f.verifier.Verify(t.Context(), token)
	require.NoError(t, err, "what was fetched is good for a while")
	_, err = f.verifier.Verify(t.Context(), signed(t, jwt.SigningMethodRS256, f.rsa, map[string]any{"kid": "k9"}, f.base(keycloak, "shop-api", "x")))
	require.Equal(t, fault.Unavailable, fault.KindOf(err), "it may be a new key")
	require.NotContains(t, fault.From(err).Message, "refused")

	f.clock.pass(time.Second)
	_, err = f.verifier.Verify(t.Context(), token)
	require.Equal(t, "keys_unavailable", fault.CodeOf(err))
	require.Equal(t, fault.Unavailable, fault.KindOf(err))

	own, _, err := f.signer.Sign(Principal{Subject: "u1"})
	require.NoError(t, err)
	_, err = f.verifier.Verify(t.Context(), own)
	require.NoError(t, err, "ours are not concerned")

	f.keycloak.set(map[string]PublicKey{"k1": {Key: &f.rsa.PublicKey}}, nil)
	f.clock.pass(remoteGap)
	_, err = f.verifier.Verify(t.Context(), f.keycloakToken(t))
	require.NoError(t, err)
}

// TestRemoteKeys_Slow has an issuer that does not answer: whoever needs its keys waits no longer than they want to, and whoever has
// some goes on.
func TestRemoteKeys_Slow(t *testing.T) {
	t.Parallel()
	key := PublicKey{Key: newKey(t).Public()}
	now, answer := &clock{t: time.Unix(1e9, 0)}, make(chan struct{})
	var slow bool
	k := newRemoteKeys("x", func(ctx context.Context) (map[string]PublicKey, error) {
		if slow {
			select {
			case <-answer:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		return map[string]PublicKey{"k1": key}, nil
	}, slog.New(slog.DiscardHandler), now.now)
	_, err := k.get(t.Context(), "k1")
	require.NoError(t, err)

	slow = true
	now.pass(keyMaxAge)
	impatient, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = k.get(impatient, "k1")
	require.NoError(t, err)
	got, err := k.get(t.Context(), "k1") // does not wait: the fetch is another one's
	require.NoError(t, err)
	require.Equal(t, key, got)
	_, err = k.get(impatient, "k2")
	require.Equal(t, fault.Unavailable, fault.KindOf(err))
	require.ErrorIs(t, err, context.Canceled)

	close(answer)
	_, err = k.get(t.Context(), "k2")
	require.Equal(t, fault.Unauthenticated, fault.KindOf(err))
	k.close()
	now.pass(24 * time.Hour)
	_, err = k.get(t.Context(), "k1")
	require.Error(t, err, "nothing is fetched any more")
}
