package password

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var errBusy = errors.New("busy")

func TestHash(t *testing.T) {
	t.Parallel()
	h := New(1, errBusy, nil)
	phc, err := h.Hash(t.Context(), "correct horse")
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(phc, "$argon2id$v=19$m=19456,t=2,p=1$"), phc)

	again, err := h.Hash(t.Context(), "correct horse")
	require.NoError(t, err)
	require.NotEqual(t, phc, again, "each hash has its own salt")

	for given, want := range map[string]bool{"correct horse": true, "correct hors": false, "": false} {
		got, err := h.Verify(t.Context(), phc, given)
		require.NoError(t, err)
		require.Equal(t, want, got, given)
	}
	require.NoError(t, h.Pretend(t.Context(), "anything"))
}

// TestVerify/Known is a hash of the reference implementation with other parameters (phc-winner-argon2, test.c).
func TestVerify(t *testing.T) {
	t.Parallel()
	h := New(1, errBusy, nil)
	t.Run("Known", func(t *testing.T) {
		t.Parallel()
		ok, err := h.Verify(t.Context(), "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4", "password")
		require.NoError(t, err)
		require.True(t, ok)
	})
	for name, phc := range map[string]string{
		"Empty":     "",
		"Bcrypt":    "$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy",
		"Argon2i":   "$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
		"Version":   "$argon2id$v=16$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
		"AllMemory": "$argon2id$v=19$m=4294967295,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
		"NoPasses":  "$argon2id$v=19$m=256,t=0,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
		"NoLanes":   "$argon2id$v=19$m=256,t=2,p=0$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
		"NoHash":    "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$",
		"NotBase64": "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$?f65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ok, err := h.Verify(t.Context(), phc, "password")
			require.Error(t, err)
			require.False(t, ok)
		})
	}
}

func TestQueue(t *testing.T) {
	t.Parallel()
	h := New(1, errBusy, nil)
	h.slots <- struct{}{} // somebody hashes for long

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := h.Hash(ctx, "a password")
	require.ErrorIs(t, err, context.Canceled, "waiting ends with the context")
	require.Zero(t, h.waiting.Load())

	h.waiting.Store(queuePerSlot)
	_, err = h.Hash(t.Context(), "a password")
	require.ErrorIs(t, err, errBusy)
	require.EqualValues(t, queuePerSlot, h.waiting.Load())

	h.waiting.Store(0)
	done := make(chan error)
	go func() {
		_, err := h.Hash(t.Context(), "a password")
		done <- err
	}()
	require.Eventually(t, func() bool { return h.waiting.Load() == 1 }, time.Minute, time.Millisecond)
	h.leave()
	require.NoError(t, <-done)
}
