package traffic

import (
	"maps"
	"sync"
	"sync/atomic"
)

// table is a map that is read at every count and written a few times in the
// life of a process: readers take no lock, writers copy it.
type table[K comparable, V any] struct {
	mu  sync.Mutex
	all atomic.Pointer[map[K]*V]
}

// of returns the value of k, made when it is asked for the first time.
func (t *table[K, V]) of(k K, make func() *V) *V {
	if v := t.read()[k]; v != nil {
		return v
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.read()
	if v := old[k]; v != nil {
		return v
	}
	grown := maps.Clone(old)
	if grown == nil {
		grown = map[K]*V{}
	}
	v := make()
	grown[k] = v
	t.all.Store(&grown)
	return v
}

// read returns what there is, which must not be changed.
func (t *table[K, V]) read() map[K]*V {
	if m := t.all.Load(); m != nil {
		return *m
	}
	return nil
}
