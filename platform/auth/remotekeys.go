package auth

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"cleave/platform/fault"
)

const (
	remoteGap      = 10 * time.Second // least time from the end of one fetch to the next
	remotePatience = time.Second      // how long a request waits for newer keys when it has one that will do
	remoteMaxStale = time.Hour        // how long keys are good for when their issuer cannot be reached
)

var errKeys = fault.New(fault.Unavailable, "keys_unavailable", "access tokens of this issuer cannot be checked at the moment")

// remoteKeys are the keys of an issuer elsewhere, which may be slow, away, or rotating them. They are fetched beside the requests: a
// request waits only for a key that it cannot do without, and no number of tokens with made-up key ids causes more than one fetch per
// remoteGap.
type remoteKeys struct {
	issuer  string
	fetch   func(ctx context.Context) (map[string]PublicKey, error)
	now     func() time.Time
	log     *slog.Logger
	current atomic.Pointer[keySet]

	mu      sync.Mutex
	flight  chan struct{} // closed at the end of the fetch under way; nil: there is none
	ended   time.Time     // of the last one
	err     error         // of the last one
	stopped bool
	ctx     context.Context // of all fetches
	stop    context.CancelFunc
	running sync.WaitGroup
}

type keySet struct {
	keys    map[string]PublicKey
	fetched time.Time
}

func newRemoteKeys(issuer string, fetch func(ctx context.Context) (map[string]PublicKey, error), log *slog.Logger, now func() time.Time) *remoteKeys {
	k := &remoteKeys{issuer: issuer, fetch: fetch, now: now, log: log}
	k.ctx, k.stop = context.WithCancel(context.Background())
	return k
}

// known returns the key of kid unless the set that holds it is older than maxAge.
func (k *remoteKeys) known(kid string, maxAge time.Duration) (PublicKey, bool) {
	set := k.current.Load()
	if set == nil || k.now().Sub(set.fetched) >= maxAge {
		return PublicKey{}, false
	}
	key, ok := set.keys[kid]
	return key, ok
}

// holds reports whether kid is still one of the issuer's keys, as far as is known.
func (k *remoteKeys) holds(kid string) bool {
	_, ok := k.known(kid, keyMaxAge)
	return ok
}

// get returns the key of kid: Unauthenticated when the issuer has none, Unavailable when the issuer cannot be reached and no key of
// the last remoteMaxStale will do.
func (k *remoteKeys) get(ctx context.Context, kid string) (PublicKey, error) {
	if key, ok := k.known(kid, keyMaxAge); ok {
		return key, nil
	}
	flight, mine := k.refresh()
	_, usable := k.known(kid, remoteMaxStale)
	switch {
	case flight == nil || usable && !mine:
	case usable:
		patience := time.NewTimer(remotePatience)
		defer patience.Stop()
		select {
		case <-flight:
		case <-patience.C:
		case <-ctx.Done():
		}
	default:
		select {
		case <-flight:
		case <-ctx.Done():
			return PublicKey{}, errKeys.Wrap(ctx.Err())
		}
	}
	if key, ok := k.known(kid, remoteMaxStale); ok {
		return key, nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err != nil {
		return PublicKey{}, errKeys.Wrap(k.err)
	}
	return PublicKey{}, errToken
}

// refresh starts a fetch unless one is under way or was a moment ago. It returns what ends with the fetch, nil when there is none,
// and whether it is this call's.
func (k *remoteKeys) refresh() (flight chan struct{}, mine bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.flight != nil:
		return k.flight, false
	case k.stopped, !k.ended.IsZero() && k.now().Sub(k.ended) < remoteGap:
		return nil, false
	}
	k.flight = make(chan struct{})
	k.running.Go(k.load)
	return k.flight, true
}

func (k *remoteKeys) load() {
	ctx, cancel := context.WithTimeout(k.ctx, keyFetchTimeout)
	defer cancel()
	keys, err := k.fetch(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now()
	switch {
	case err == nil:
		k.current.Store(&keySet{keys, now})
		if k.err != nil {
			k.log.InfoContext(ctx, "the keys of an outside issuer are there again", "issuer", k.issuer)
		}
	case k.err == nil && k.ctx.Err() == nil:
		k.log.WarnContext(ctx, "the keys of an outside issuer cannot be fetched", "issuer", k.issuer, "error", err)
	}
	k.err, k.ended = err, now
	close(k.flight)
	k.flight = nil
}

// close ends the fetch under way and starts no more.
func (k *remoteKeys) close() {
	k.mu.Lock()
	k.stopped = true
	k.mu.Unlock()
	k.stop()
	k.running.Wait()
}
