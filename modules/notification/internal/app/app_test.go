package app

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cleave/modules/notification/internal/domain"
	"cleave/modules/notification/internal/store"
	"cleave/modules/notification/internal/wording"
	"cleave/modules/notification/migrations"
	"cleave/platform/db"
	"cleave/platform/db/dbtest"
	"cleave/platform/event"
	"cleave/platform/fault"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

const (
	patience = time.Minute
	tick     = 5 * time.Millisecond
)

// post stands in for an SMTP server.
type post struct {
	mu      sync.Mutex
	sent    []domain.Mail
	answers []error                            // one for each attempt; then it accepts
	during  func(context.Context, domain.Mail) // runs while a mail is on its way
}

func (p *post) Send(ctx context.Context, m domain.Mail) error {
	p.mu.Lock()
	during := p.during
	p.mu.Unlock()
	if during != nil {
		during(ctx, m)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.answers) > 0 {
		err := p.answers[0]
		if p.answers = p.answers[1:]; err != nil {
			return err
		}
	}
	p.sent = append(p.sent, m)
	return nil
}

func (*post) Idle() {}

func (p *post) Forget(email string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent = slices.DeleteFunc(p.sent, func(m domain.Mail) bool { return m.To.Email == email })
	return nil
}

func (p *post) mails() []domain.Mail {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]domain.Mail(nil), p.sent...)
}

// world is an App on a database, with a clock that a test can move.
type world struct {
	*App
	post *post
	log  *log
	now  func() time.Time
	skip func(time.Duration)
}

// log keeps what was logged.
type log struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func each(t *testing.T, fn func(t *testing.T, c db.Config)) {
	t.Helper()
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		t.Parallel()
		fn(t, c)
	})
}

// setup returns an App; several on one d are several processes.
func setup(t *testing.T, d *db.DB) *world {
	t.Helper()
	writer, err := wording.New(wording.Links{})
	require.NoError(t, err)
	var mu sync.Mutex
	var ahead time.Duration
	w := &world{post: &post{}, log: &log{}}
	w.now = func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return time.Now().Add(ahead)
	}
	w.skip = func(by time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		ahead += by
	}
	w.App = New(Deps{
		DB: d, Store: store.New(d), Writer: writer, Post: w.post, Log: slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})), Now: w.now,
		NewID:  func() string { return uuid.Must(uuid.NewV7()).String() },
		Forget: func(ctx context.Context, userID string) error { return event.Erase(ctx, d, userID) },
		Mail:   MailPolicy{RetryMin: time.Minute, RetryMax: time.Hour, GiveUp: 24 * time.Hour},
	})
	return w
}

func open(t *testing.T, c db.Config) *db.DB {
	t.Helper()
	return dbtest.Open(t, c, "notification", migrations.FS, nil)
}

// user is a new user whose address is known.
func (w *world) user(t *testing.T) string {
	t.Helper()
	id := uuid.NewString()
	require.NoError(t, w.KeepContact(t.Context(), domain.Contact{UserID: id, Email: id + "@example.org", DisplayName: "Ada"}))
	return id
}

func confirmed(user string) domain.News {
	return domain.News{Kind: domain.Confirmed, UserID: user, OrderID: uuid.NewString(), Number: "7K3M-9QXD"}
}

// background runs fn until the returned function is called, which waits for it.
func background(t *testing.T, fn func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { _ = fn(ctx) })
	stop = func() { cancel(); done.Wait() }
	t.Cleanup(stop)
	return stop
}

// mail is what the table knows of a user's mails, one string each.
func (w *world) mail(t require.TestingT, user string) []string {
	var rows []struct {
		State    string
		Attempts int
		Cause    string
	}
	require.NoError(t, w.DB.Conn(context.Background()).Raw("SELECT state, attempts, cause FROM mails WHERE user_id = ? ORDER BY created_at, id", user).Scan(&rows).Error)
	var out []string
	for _, r := range rows {
		out = append(out, fmt.Sprintf("%s after %d %s", r.State, r.Attempts, r.Cause))
	}
	return out
}

func TestTellConcurrently(t *testing.T) {
	each(t, func(t *testing.T, c db.Config) {
		const writers, each = 32, 4
		w := setup(t, open(t, c))
		user := uuid.NewString()
		feed, err := w.Follow(t.Context(), user, "")
		require.NoError(t, err)
		defer feed.Close()

		var all sync.WaitGroup
		defer all.Wait()
		for i := range writers {
			all.Go(func() {
				for j := range each {
					err := w.DB.Tx(context.Background(), func(ctx context.Context) error {
						if err := w.Tell(ctx, confirmed(user)); err != nil {
							return err
						}
						if (i+j)%5 == 0 { // its number must be given again
							return fault.New(fault.Conflict, "", "changed my mind")
						}
						return nil
					})
					if (i+j)%5 != 0 && err != nil {
						t.Error(err)
					}
				}
			})
		}
		var kept int64
		for i := range writers {
			for j := range each {
				if (i+j)%5 != 0 {
					kept++
				}
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		for want := int64(1); want <= kept; want++ {
			n, err := feed.Next(ctx)
			require.NoError(t, err)
			require.Equal(t, want, n.Seq, "no gap, no repeat, in order, while it is being written")
		}
		all.Wait()
		list, more, err := w.List(t.Context(), user, store.Filter{Limit: 1000})
		require.NoError(t, err)
		require.False(t, more)
		require.Len(t, list, int(kept))
		for i, n := range list {
			require.Equal(t, kept-int64(i), n.Seq)
		}
	})
}

func TestTellWhileMuting(t *testing.T) {
	each(t, func(t *testing.T, c db.Config) {
		w := setup(t, open(t, c))
		user := uuid.NewString()
		var all sync.WaitGroup
		for range 16 {
			all.Go(func() {
				for range 4 {
					if err := w.Tell(context.Background(), confirmed(user)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Go(func() {
			mute := []domain.Preference{{Route: domain.Route{Kind: domain.Confirmed, Channel: domain.InApp}}}
			for version := range int64(16) {
				list := mute[:(version+1)%2] // muted, not muted, and so on
				if _, err := w.SetPreferences(context.Background(), user, version, list); err != nil {
					t.Error(err)
				}
			}
		})
		all.Wait()
		require.NoError(t, w.Tell(t.Context(), confirmed(user)))
		list, _, err := w.List(t.Context(), user, store.Filter{Limit: 1000})
		require.NoError(t, err)
		for i, n := range list {
			require.EqualValues(t, len(list)-i, n.Seq, "what was muted leaves no gap")
		}
		last, err := w.Store.LastSeqs(t.Context(), []string{user})
		require.NoError(t, err)
		require.EqualValues(t, len(list), last[user])
	})
}

func TestFollow(t *testing.T) {
	each(t, func(t *testing.T, c db.Config) {
		d := open(t, c)
		w := setup(t, d)
		user := uuid.NewString()
		for range 3 {
			require.NoError(t, w.Tell(t.Context(), confirmed(user)))
		}
		all, _, err := w.List(t.Context(), user, store.Filter{Limit: 10})
		require.NoError(t, err)
		next := func(t *testing.T, f *Feed) int64 {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			n, err := f.Next(ctx)
			require.NoError(t, err)
			return n.Seq
		}
		t.Run("Resume", func(t *testing.T) {
			f, err := w.Follow(t.Context(), user, all[2].ID)
			require.NoError(t, err)
			defer f.Close()
			require.EqualValues(t, 2, next(t, f))
			require.EqualValues(t, 3, next(t, f))
		})
		t.Run("FromNow", func(t *testing.T) {
			for _, last := range []string{"", uuid.NewString()} {
				f, err := w.Follow(t.Context(), user, last)
				require.NoError(t, err)
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
				_, err = f.Next(ctx)
				require.ErrorIs(t, err, context.DeadlineExceeded)
				cancel()
				f.Close()
			}
		})
		t.Run("SomeoneElsesID", func(t *testing.T) {
			other := uuid.NewString()
			require.NoError(t, w.Tell(t.Context(), confirmed(other)))
			f, err := w.Follow(t.Context(), other, all[2].ID)
			require.NoError(t, err)
			defer f.Close()
			require.NoError(t, w.Tell(t.Context(), confirmed(other)))
			require.EqualValues(t, 2, next(t, f))
		})
		t.Run("WrittenByAnotherProcess", func(t *testing.T) {
			background(t, w.WatchFeeds)
			f, err := w.Follow(t.Context(), user, "")
			require.NoError(t, err)
			defer f.Close()
			require.NoError(t, setup(t, d).Tell(t.Context(), confirmed(user)))
			require.Eventually(t, func() bool { return len(f.wake) == 1 }, patience, tick, "nobody wakes the feed")
			require.EqualValues(t, 4, next(t, f))
		})
		t.Run("Limit", func(t *testing.T) {
			var open []*Feed
			for range feedsPerUser {
				f, err := w.Follow(t.Context(), user, "")
				require.NoError(t, err)
				open = append(open, f)
			}
			_, err := w.Follow(t.Context(), user, "")
			require.Equal(t, fault.Exhausted, fault.KindOf(err))
			require.Equal(t, "too_many_streams", fault.CodeOf(err))
			f, err := w.Follow(t.Context(), uuid.NewString(), "")
			require.NoError(t, err, "another user")
			open[0].Close()
			again, err := w.Follow(t.Context(), user, "")
			require.NoError(t, err)
			for _, f := range append(open[1:], again, f) {
				f.Close()
			}
			require.Empty(t, w.feeds.users())
		})
	})
}

func TestKeepContact(t *testing.T) {
	each(t, func(t *testing.T, c db.Config) {
		w := setup(t, open(t, c))
		user := uuid.NewString()
		keep := func(version int64, email string) {
			require.NoError(t, w.KeepContact(t.Context(), domain.Contact{UserID: user, Email: email, DisplayName: email, Version: version}))
		}
		keep(3, "third@example.org")
		keep(0, "first@example.org") // the events of different types are not ordered
		keep(2, "second@example.org")
		require.NoError(t, w.Tell(t.Context(), confirmed(user)))
		background(t, w.SendMails)
		require.Eventually(t, func() bool { return len(w.post.mails()) == 1 }, patience, tick)
		require.Equal(t, "third@example.org", w.post.mails()[0].To.Email)
		require.Equal(t, "third@example.org", w.post.mails()[0].To.DisplayName)
	})
}
