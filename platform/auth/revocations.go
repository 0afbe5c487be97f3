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
}

type before struct {
	generation int64
	until      time.Time
}

// Add makes the tokens of list invalid. It may be given the same ones again.
func (r *Revocations) Add(list ...Revocation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sessions == nil {
		r.sessions, r.subjects = map[string]time.Time{}, map[string]before{}
	}
	for _, v := range list {
		if v.Session != "" {
			r.sessions[v.Session] = v.Until
			continue
		}
		b := r.subjects[v.Subject]
		b.generation = max(b.generation, v.Before)
		if v.Until.After(b.until) {
			b.until = v.Until
		}
		r.subjects[v.Subject] = b
	}
}

// Revoked reports whether tokens for p must not be accepted.
func (r *Revocations) Revoked(p Principal) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
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
