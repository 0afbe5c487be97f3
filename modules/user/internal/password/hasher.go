// Package password hashes passwords with Argon2id (RFC 9106) and checks them, a few at a time.
package password

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"sync/atomic"

	"golang.org/x/crypto/argon2"
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
}

// New returns a hasher with the given number of slots, at least one. It answers busy while too many callers wait.
func New(slots int, busy error) *Hasher {
	return &Hasher{slots: make(chan struct{}, max(slots, 1)), busy: busy}
}

// Hash returns the PHC string of a password, as Normalise has it, under a fresh salt. It waits for a slot; it fails with the error of ctx when
// that ends first, and with busy when too many wait already.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	salt := make([]byte, saltBytes)
	if _, err := rand.Read(salt); err != nil {
		return "", fmt.Errorf("make a salt: %w", err)
	}
	if err := h.enter(ctx); err != nil {
		return "", err
	}
	defer h.leave()
	key := argon2.IDKey([]byte(Normalise(password)), salt, passes, memoryKiB, lanes, hashBytes)
	return encode(parameters{memoryKiB, passes, lanes}, salt, key), nil
}

// Verify reports whether the password is the one that a PHC string was made from. It waits and fails as Hash does, and
// fails on a string that Hash cannot have made.
func (h *Hasher) Verify(ctx context.Context, phc, password string) (bool, error) {
	p, salt, want, err := decode(phc)
	if err != nil {
		return false, err
	}
	if err := h.enter(ctx); err != nil {
		return false, err
	}
	defer h.leave()
	got := argon2.IDKey([]byte(Normalise(password)), salt, p.passes, p.memoryKiB, p.lanes, uint32(len(want)))
	return subtle.ConstantTimeCompare(got, want) == 1, nil
}

// Pretend does the work of Verify for a user who does not exist, so that the time of an answer does not tell who does.
func (h *Hasher) Pretend(ctx context.Context, password string) error {
	_, err := h.Verify(ctx, nobody, password)
	return err
}

// nobody is the form of a hash that no password is known for.
var nobody = encode(parameters{memoryKiB, passes, lanes}, make([]byte, saltBytes), make([]byte, hashBytes))

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
