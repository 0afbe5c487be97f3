package notification

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cleave/platform/config"
)

func TestStream(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		t.Run("Live", func(t *testing.T) {
			user := w.registered(t)
			w.confirm(t, user)
			user.inbox(t, 1)
			s := user.follow(t, "")
			order := w.confirm(t, user)
			got := s.take(t, 1)[0]
			require.Equal(t, order, got.notification.OrderID.String(), "only what came after it was opened")
			require.Equal(t, user.inbox(t, 2)[1], got.notification)
		})
		t.Run("Resume", func(t *testing.T) {
			user := w.registered(t)
			w.confirmMany(t, user, 150)
			page := user.list(t, "?limit=100")
			from := page.Items[99].ID.String()
			s := user.follow(t, from)
			w.confirm(t, user)
			got := s.take(t, 100)
			for i, e := range got[:99] {
				require.Equal(t, page.Items[98-i], e.notification, "what was missed, in order, then what is new")
			}
			s.close()
			again := user.follow(t, got[49].id)
			require.Equal(t, got[50:], again.take(t, 50))
		})
		t.Run("UnknownID", func(t *testing.T) {
			user, other := w.registered(t), w.registered(t)
			w.confirmMany(t, user, 1)
			w.confirmMany(t, other, 1)
			for _, id := range []string{uuid.NewString(), other.inbox(t, 1)[0].ID.String()} {
				s := user.follow(t, id)
				order := w.confirm(t, user)
				require.Equal(t, order, s.take(t, 1)[0].notification.OrderID.String())
			}
		})
		t.Run("OthersHearNothing", func(t *testing.T) {
			user, other := w.registered(t), w.registered(t)
			s := user.follow(t, "")
			w.confirmMany(t, other, 1)
			order := w.confirm(t, user)
			require.Equal(t, order, s.take(t, 1)[0].notification.OrderID.String())
		})
		t.Run("Refused", func(t *testing.T) {
			user := w.registered(t)
			refused(t, user.do(t, "GET", "/notifications/stream", nil, "Last-Event-ID", "7"), 400, "invalid")
			nobody := &caller{url: user.url, http: user.http}
			refused(t, nobody.do(t, "GET", "/notifications/stream", nil), 401, "token_missing")
			refused(t, w.caller(t, "guest").do(t, "GET", "/notifications/stream", nil), 403, "permission_denied")
		})
		t.Run("TooMany", func(t *testing.T) {
			user := w.registered(t)
			open := user.follow(t, "")
			for range 4 {
				user.follow(t, "")
			}
			refused(t, user.do(t, "GET", "/notifications/stream", nil), 429, "too_many_streams")
			w.registered(t).follow(t, "")
			open.close()
			require.Eventually(t, func() bool {
				resp := user.send(t, t.Context(), "GET", "/notifications/stream", nil)
				defer func() { _ = resp.Body.Close() }()
				return resp.StatusCode == 200
			}, patience, tick, "a stream that was closed makes room")
		})
		t.Run("SlowReader", func(t *testing.T) {
			user := w.registered(t)
			user.follow(t, "") // and is never read
			s := user.follow(t, "")
			for range 50 {
				w.confirm(t, user)
			}
			s.take(t, 50)
		})
	})
}

func TestStreamEndsWithItsTime(t *testing.T) {
	eachWith(t, func(cfg *config.Config, _ *settings) { cfg.Auth.AccessTTL = 2 * time.Second }, func(t *testing.T, w *world) {
		_, ok := w.registered(t).follow(t, "").next(t)
		require.False(t, ok)
	})
}

func TestStreamEndsWithTheProcess(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		s := w.registered(t).follow(t, "")
		stopped := make(chan error)
		go func() { stopped <- w.host.Stop(context.Background()) }()
		_, ok := s.next(t)
		require.False(t, ok)
		require.NoError(t, <-stopped)
	})
}
