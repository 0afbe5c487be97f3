package app

import (
	"maps"
	"slices"
	"sync"

	"cleave/platform/fault"
)

// feedsPerUser bounds what one user can make this process hold open.
const feedsPerUser = 5

// feeds are the open ones of this process.
type feeds struct {
	mu     sync.Mutex
	byUser map[string]map[*Feed]struct{}
}

func newFeeds() *feeds { return &feeds{byUser: map[string]map[*Feed]struct{}{}} }

func (s *feeds) add(f *Feed) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	open := s.byUser[f.userID]
	if len(open) >= feedsPerUser {
		return fault.New(fault.Exhausted, "too_many_streams", "you have %d streams open already", len(open))
	}
	if open == nil {
		open = map[*Feed]struct{}{}
		s.byUser[f.userID] = open
	}
	open[f] = struct{}{}
	return nil
}

func (s *feeds) remove(f *Feed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if delete(s.byUser[f.userID], f); len(s.byUser[f.userID]) == 0 {
		delete(s.byUser, f.userID)
	}
}

// wake makes the user's feeds look for what they have not given. It waits for
// none of them.
func (s *feeds) wake(userID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for f := range s.byUser[userID] {
		nudge(f.wake)
	}
}

// wakeBehind is wake for the feeds that have not come as far as the number.
func (s *feeds) wakeBehind(userID string, seq int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for f := range s.byUser[userID] {
		if f.after.Load() < seq {
			nudge(f.wake)
		}
	}
}

// users are those with a feed.
func (s *feeds) users() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.byUser))
}
