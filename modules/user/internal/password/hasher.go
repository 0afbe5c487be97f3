// Package password hashes passwords with Argon2id (RFC 9106) and checks them, a few at a time.
package password

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"sync/atomic"
)

// The parameters are the OWASP Password Storage Cheat Sheet's: 19 MiB, two passes, one lane.
const (
	memoryKiB = 19 * 1024
	passes    = 2
	lanes     = 1
	saltBytes = 16
	hashBytes = 32

	// queuePerSlot bounds the callers that wait: some ten seconds of work on one slow core.
	queuePerSlot = 256
)

// Hasher hashes at most as many passwords at once as it has slots, so that a burst of log-ins leaves cores, and memory,
// to the rest of the process.
type Hasher struct {
	slots   chan struct{}
	waiting atomic.Int64
	busy    error
	derive  func(request []byte) ([]byte, error)
}

// New returns a hasher with the given number of slots, at least one. It answers busy while too many callers wait. Derive is the function of
// this package, or one that has it called elsewhere; nil is the former.
func New(slots int, busy error, derive func(request []byte) ([]byte, error)) *Hasher {
	if derive == nil {
		derive = Derive
	}
	return &Hasher{slots: make(chan struct{}, max(slots, 1)), busy: busy, derive: derive}
}

// Hash returns the PHC string of a password, as Normalise has it, under a fresh salt. It waits for a slot; it fails with the error of ctx when
// that ends first, also while it hashes, and with busy when too many wait already.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	salt := make([]byte, saltBytes)
	if _, err := rand.Read(salt); err != nil {
		return "", fmt.Errorf("make a salt: %w", err)
	}
	p := parameters{memoryKiB, passes, lanes}
	key, err := h.key(ctx, password, p, salt, hashBytes)
	if err != nil {
		return "", err
	}
	return encode(p, salt, key), nil
}

// Verify reports whether the password is the one that a PHC string was made from. It waits and fails as Hash does, and
// fails on a string that Hash cannot have made.
func (h *Hasher) Verify(ctx context.Context, phc, password string) (bool, error) {
	p, salt, want, err := decode(phc)
	if err != nil {
		return false, err
	}
	got, err := h.key(ctx, password, p, salt, len(want))
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(got, want) == 1, nil
}

// Pretend does the work of Verify for a user who does not exist, so that the time of an answer does not tell who does.
func (h *Hasher) Pretend(ctx context.Context, password string) error {
	_, err := h.Verify(ctx, nobody, password)
	return err
}

// nobody is the form of a hash that no password is known for.
var nobody = encode(parameters{memoryKiB, passes, lanes}, make([]byte, saltBytes), make([]byte, hashBytes))

// key derives a key in a slot, which is taken until that is done, also when the caller has gone.
func (h *Hasher) key(ctx context.Context, password string, p parameters, salt []byte, size int) ([]byte, error) {
	if err := h.enter(ctx); err != nil {
		return nil, err
	}
	type result struct {
		key []byte
		err error
	}
	done := make(chan result, 1)
	go func() {
		defer h.leave()
		key, err := h.derive(newRequest(Normalise(password), p, salt, size))
		done <- result{key, err}
	}()
	select {
	case r := <-done:
		return r.key, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (h *Hasher) enter(ctx context.Context) error {
	select {
	case h.slots <- struct{}{}:
		return nil
	default:
	}
	if h.waiting.Add(1) > int64(cap(h.slots)*queuePerSlot) {
		h.waiting.Add(-1)
		return h.busy
	}
	defer h.waiting.Add(-1)
	select {
	case h.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (h *Hasher) leave() { <-h.slots }
