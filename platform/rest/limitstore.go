package rest

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ulule/limiter/v3"
	"github.com/ulule/limiter/v3/drivers/store/memory"

	"cleave/platform/db"
)

// limitStore counts in memory. With a database that replicas share it also remembers what it has
// counted itself, which exchange adds to the counts of the others.
type limitStore struct {
	limiter.Store
	db *db.DB // nil: nobody to share with

	mu     sync.Mutex
	counts map[string]*ownCount
}

// ownCount is what this process knows of one key and of its period.
type ownCount struct {
	rate   limiter.Rate
	until  int64 // Unix time
	unsent int64 // counted here since the last exchange
	sent   int64 // counted here and told to the others
	others int64 // of the others, and added to the memory's count
}

func newLimitStore(d *db.DB) *limitStore {
	s := &limitStore{Store: memory.NewStoreWithOptions(limiter.StoreOptions{CleanUpInterval: limitPeriod})}
	if d.Dialect() == "postgres" {
		s.db, s.counts = d, map[string]*ownCount{}
	}
	return s
}

// Get counts one request.
func (s *limitStore) Get(ctx context.Context, key string, rate limiter.Rate) (limiter.Context, error) {
	state, err := s.Store.Get(ctx, key, rate)
	if err != nil || s.db == nil {
		return state, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.counts[key]
	if c == nil || c.until != state.Reset {
		c = &ownCount{rate: rate, until: state.Reset}
		s.counts[key] = c
	}
	c.unsent++
	return state, nil
}

// limitRow is a count of all replicas.
type limitRow struct {
	Key   string
	Count int64
}

// limitBatch bounds the keys of one statement.
const limitBatch = 500

// exchange tells the others what was counted here, and counts here what they told.
func (s *limitStore) exchange(ctx context.Context) error {
	now := time.Now().Unix()
	for unsent := s.take(now); len(unsent) > 0; unsent = unsent[min(limitBatch, len(unsent)):] {
		batch := unsent[:min(limitBatch, len(unsent))]
		rows, err := s.add(ctx, batch, now)
		if err != nil {
			s.giveBack(unsent)
			return err
		}
		if err := s.learn(ctx, batch, rows); err != nil {
			return err
		}
	}
	return nil
}

// told is what is told of one key.
type told struct {
	key   string
	count *ownCount
	n     int64
}

// take returns what to tell, and forgets the keys whose period is over.
func (s *limitStore) take(now int64) (unsent []told) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, c := range s.counts {
		if c.until <= now {
			delete(s.counts, key)
			continue
		}
		unsent = append(unsent, told{key, c, c.unsent}) // also 0: the others may have counted
		c.sent, c.unsent = c.sent+c.unsent, 0
	}
	// In one order everywhere, or two replicas could wait for each other's rows.
	slices.SortFunc(unsent, func(a, b told) int { return strings.Compare(a.key, b.key) })
	return unsent
}

func (s *limitStore) giveBack(unsent []told) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range unsent {
		t.count.sent, t.count.unsent = t.count.sent-t.n, t.count.unsent+t.n
	}
}

// add adds to the shared counts, beginning anew those whose period is over, and returns them.
func (s *limitStore) add(ctx context.Context, batch []told, now int64) (rows []limitRow, err error) {
	args := make([]any, 0, 3*len(batch)+2)
	for _, t := range batch {
		args = append(args, t.key, t.n, t.count.until)
	}
	args = append(args, now, now)
	err = s.db.Tx(ctx, func(ctx context.Context) error {
		if err := s.db.Conn(ctx).Exec("DELETE FROM rate_limits WHERE until < ?", now-int64(limitPeriod/time.Second)).Error; err != nil {
			return err
		}
		return s.db.Conn(ctx).Raw(`INSERT INTO rate_limits (key, count, until) VALUES `+strings.Repeat(", (?, ?, ?)", len(batch))[2:]+`
			ON CONFLICT (key) DO UPDATE SET
				count = excluded.count + CASE WHEN rate_limits.until > ? THEN rate_limits.count ELSE 0 END,
				until = CASE WHEN rate_limits.until > ? THEN rate_limits.until ELSE excluded.until END
			RETURNING key, count`, args...).Scan(&rows).Error
	})
	return rows, err
}

// learn counts here what the others counted since the last time.
func (s *limitStore) learn(ctx context.Context, batch []told, rows []limitRow) error {
	all := make(map[string]int64, len(rows))
	for _, r := range rows {
		all[r.Key] = r.Count
	}
	for _, t := range batch {
		s.mu.Lock()
		more := all[t.key] - t.count.sent - t.count.others
		if more > 0 {
			t.count.others += more
		}
		s.mu.Unlock()
		if more <= 0 {
			continue
		}
		if _, err := s.Store.Increment(ctx, t.key, more, t.count.rate); err != nil {
			return err
		}
	}
	return nil
}
