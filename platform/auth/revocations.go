package auth

import (
	"sync"
	"time"
)

// maxRevocations bounds what is remembered, at some 150 bytes each. Logging out 70 users a second for an hour reaches it.
const maxRevocations = 1 << 18

// Revocation ends access tokens of the own issuer before they expire (ASVS 5.0 7.4.1 and 7.4.2): those of one session, or else
// those that speak of a subject before a generation. A subject's generation grows with each change that its tokens must follow,
// so that tokens from before and after are told apart without comparing clocks.
type Revocation struct {
	Subject string
	Session string // when set, Generation does not matter
	Before  int64  // the first generation that stays valid
	Until   time.Time
}

// RevokedUntil is when a revocation that happens now can be forgotten, because no token from before is left.
func RevokedUntil(now time.Time) time.Time { return now.Add(MaxLifetime + time.Minute) }

// Revocations are the access tokens that a process no longer accepts. They are in memory, so that a request costs no look-up in
// a database. The zero value is empty and ready for use.
type Revocations struct {
	mu       sync.RWMutex
	sessions map[string]time.Time
	subjects map[string]before
	watched  map[*watch]struct{}
}

// watch is somebody who wants to know when tokens for a principal end.
type watch struct {
	principal Principal
	end       func()
}

type before struct {
	generation int64
	until      time.Time
}

// Add makes the tokens of list invalid. It may be given the same ones again.
func (r *Revocations) Add(list ...Revocation) {
	for _, w := range r.add(list) {
		w.end()
	}
}

// add returns those who must hear of it.
func (r *Revocations) add(list []Revocation) (ended []*watch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sessions == nil {
		r.sessions, r.subjects = map[string]time.Time{}, map[string]before{}
	}
	news := false // most of a list is not, because each look at the table reads some rows once more
	for _, v := range list {
		if v.Session != "" {
			_, known := r.sessions[v.Session]
			news = news || !known
			r.sessions[v.Session] = v.Until
			continue
		}
		b := r.subjects[v.Subject]
		news = news || v.Before > b.generation
		b.generation = max(b.generation, v.Before)
		if v.Until.After(b.until) {
			b.until = v.Until
		}
		r.subjects[v.Subject] = b
	}
	if !news {
		return nil
	}
	for w := range r.watched {
		if r.has(w.principal) {
			ended = append(ended, w)
		}
	}
	return ended
}

// watch calls end when tokens for p must no longer be accepted, also when that is so already, until stop is called. It may call end
// more than once.
func (r *Revocations) watch(p Principal, end func()) (stop func()) {
	w := &watch{p, end}
	r.mu.Lock()
	if r.watched == nil {
		r.watched = map[*watch]struct{}{}
	}
	r.watched[w] = struct{}{}
	ended := r.has(p)
	r.mu.Unlock()
	if ended {
		end()
	}
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.watched, w)
	}
}

// Revoked reports whether tokens for p must not be accepted.
func (r *Revocations) Revoked(p Principal) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.has(p)
}

// has is Revoked for whoever holds the lock.
func (r *Revocations) has(p Principal) bool {
	if _, ok := r.sessions[p.Session]; ok && p.Session != "" {
		return true
	}
	b, ok := r.subjects[p.Subject]
	return ok && p.Generation < b.generation
}

// Forget removes what no living token can be affected by. If more is left than is kept, it also removes those that are the
// closest to that, and returns how many.
func (r *Revocations) Forget(now time.Time) (lost int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.forget(now, maxRevocations)
}

func (r *Revocations) forget(now time.Time, limit int) (lost int) {
	for step := time.Duration(0); ; step += time.Minute {
		removed := 0
		for session, until := range r.sessions {
			if !until.After(now.Add(step)) {
				delete(r.sessions, session)
				removed++
			}
		}
		for subject, b := range r.subjects {
			if !b.until.After(now.Add(step)) {
				delete(r.subjects, subject)
				removed++
			}
		}
		if step > 0 {
			lost += removed
		}
		if len(r.sessions)+len(r.subjects) <= limit {
			return lost
		}
	}
}
