package password

import (
	"bytes"
	"context"
	"encoding/hex"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestDerive/Known is a vector of the reference implementation (phc-winner-argon2, test.c).
func TestDerive(t *testing.T) {
	t.Parallel()
	salt := []byte("somesalt")
	t.Run("Known", func(t *testing.T) {
		t.Parallel()
		key, err := Derive(newRequest("password", parameters{256, 2, 1}, salt, 32))
		require.NoError(t, err)
		require.Equal(t, "9dfeb910e80bad0311fee20f9c0e2b12c17987b4cac90c2ef54d5b3021c68bfe", hex.EncodeToString(key))
	})
	whole := newRequest("password", parameters{256, 2, 1}, salt, 32)
	long := bytes.Clone(whole)
	long[13] = 0xff // the length of the salt
	for name, b := range map[string][]byte{
		"Empty": nil, "Cut": whole[:16], "SaltBeyondTheEnd": long,
		"AllMemory": newRequest("password", parameters{maxMemoryKiB + 1, 2, 1}, salt, 32),
		"NoPasses":  newRequest("password", parameters{256, 0, 1}, salt, 32),
		"NoLanes":   newRequest("password", parameters{256, 2, 0}, salt, 32),
		"NoKey":     newRequest("password", parameters{256, 2, 1}, salt, 0),
		"HugeKey":   newRequest("password", parameters{256, 2, 1}, salt, maxKeyBytes+1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Derive(b)
			require.Error(t, err)
		})
	}
}

// TestCancel is a caller who goes while a hash is under way elsewhere: the slot is taken until the hash is done.
func TestCancel(t *testing.T) {
	t.Parallel()
	begun, end := make(chan struct{}), make(chan struct{})
	h := New(1, errBusy, func(b []byte) ([]byte, error) {
		close(begun)
		<-end
		return Derive(b)
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := h.Hash(ctx, "a password")
		done <- err
	}()
	<-begun
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	require.Len(t, h.slots, 1)
	close(end)
	require.Eventually(t, func() bool { return len(h.slots) == 0 }, time.Minute, time.Millisecond)
}
