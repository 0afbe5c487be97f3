package journey_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"cleave/platform/db"
)

// beside opens a module's database beside the server that runs.
func (s *site) beside(t testing.TB, module string) *db.DB {
	t.Helper()
	c := s.db
	c.Dir = s.dir
	d, err := db.Open(t.Context(), c, module, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	return d
}

// The commands work on the databases while the server runs, and what they do is in the audit log.
func TestOperate(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		s := w.site
		w.customer(t, 5000)
		d := s.beside(t, "notification")
		for _, id := range []string{"bad-1", "bad-2", "bad-3"} {
			require.NoError(t, d.Tx(t.Context(), func(ctx context.Context) error {
				return d.Conn(ctx).Exec(`INSERT INTO inbox (subscriber, id, type, source, key, at, payload, state, attempts, dead_at, cause)
					VALUES ('notification.welcome', ?, 'cleave.user.v1.UserRegistered', 'user', ?, 1, ?, 'dead', 1, 2, 'invalid/event_undecodable: no')`,
					id, id, []byte{0xff}).Error
			}))
		}
		type letter struct{ Subscriber, ID, Cause string }
		var letters []letter
		s.data(t, &letters, "event", "dead", "list", "--module", "notification")
		require.Len(t, letters, 3)
		require.Contains(t, letters[0].Cause, "event_undecodable")
		var shown struct {
			Payload []byte `json:"payload"`
		}
		s.data(t, &shown, "event", "dead", "show", "notification.welcome", "bad-1", "--module", "notification")
		require.Equal(t, []byte{0xff}, shown.Payload)

		type outcome struct {
			Count  int
			DryRun bool `json:"dry_run"`
		}
		var o outcome
		discard := []string{"event", "dead", "discard", "--module", "notification"}
		s.data(t, &o, append(discard, "--all", "--dry-run")...)
		require.Equal(t, outcome{3, true}, o)
		s.data(t, &o, append(discard, "notification.welcome", "bad-1")...)
		require.Equal(t, outcome{1, false}, o)
		s.data(t, &o, append(discard, "--subscriber", "notification.welcome", "--limit", "1", "--yes")...)
		require.Equal(t, 1, o.Count)

		for name, c := range map[string]struct {
			args []string
			code int
			says string
		}{
			"NoConfirmation":    {append(discard, "--all"), 2, "discard 1 dead letters of notification? There is no terminal to ask: use --yes"},
			"NoFilter":          {append(discard, "--yes"), 1, "nothing selects: give a filter, or ask for all"},
			"UnknownModule":     {[]string{"event", "lag", "--module", "orders"}, 2, `--module is "orders", allowed: user, order, notification`},
			"NoModule":          {[]string{"event", "dead", "retry", "--all"}, 2, "name one module with --module NAME"},
			"UnknownSubscriber": {append(discard, "notification.hello", "bad-3"), 1, `notification has no subscriber "notification.hello"; it has outbox, notification.forget_user, notification.keep_contact`},
			"UnknownID":         {append(discard, "notification.welcome", "bad-9"), 1, `notification has no dead letter "bad-9" of "notification.welcome"`},
			"HalfAName":         {append(discard, "notification.welcome"), 2, "give the two names of one"},
			"Limit":             {append(discard, "--all", "--limit", "1001"), 2, "--limit is 1001, allowed: 1 to 1000"},
			"Time":              {append(discard, "--since", "yesterday"), 2, `--since is "yesterday", allowed: a time such as`},
			"UnknownSaga":       {[]string{"saga", "retry", "place_order", "x", "--module", "order"}, 1, "there is no saga place_order x"},
			"SagaState":         {[]string{"saga", "list", "--state", "stuck"}, 2, `"stuck" is no state of a saga`},
			"Head":              {[]string{"audit", "verify", "--module", "user", "--head", "1:2"}, 2, `"1:2" is not a head of an audit log`},
			"HeadOfWhich":       {[]string{"audit", "verify", "--head", "0:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}, 2, "name it with --module NAME"},
		} {
			t.Run(name, func(t *testing.T) {
				got := s.do(t, c.args...)
				require.Equal(t, c.code, got.code, got.err)
				require.Contains(t, got.err, c.says)
				require.Empty(t, got.out)
			})
		}

		var lag []struct {
			Module, Subscriber string
			Dead               int
		}
		s.data(t, &lag, "event", "lag")
		require.Contains(t, lag, struct {
			Module, Subscriber string
			Dead               int
		}{"notification", "notification.welcome", 1})
		require.Contains(t, s.do(t, "event", "topics").out, "cleave.user.v1.UserRegistered")
		require.Zero(t, s.do(t, "saga", "list", "--module", "order").code)

		var entries []struct{ Actor, Action, Object string }
		s.data(t, &entries, "audit", "list", "--module", "notification")
		require.Len(t, entries, 2)
		require.Regexp(t, `^cli:.+`, entries[0].Actor)
		require.Equal(t, "dead-letter/notification.welcome/bad-1", entries[1].Object)
		s.data(t, &entries, "audit", "list", "--action", "user:credit:top_up")
		require.Len(t, entries, 1)
		require.Contains(t, entries[0].Actor, w.admin.id.String())
	})
}

// A log that somebody changed behind the program's back is found, and says so in the exit code.
func TestAuditVerify(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		s := w.site
		w.customer(t, 5000)
		var rows []struct {
			Module, Head string
			Intact       bool
		}
		s.data(t, &rows, "audit", "verify")
		require.Len(t, rows, 3)
		head := ""
		for _, r := range rows {
			require.True(t, r.Intact)
			if r.Module == "user" {
				head = r.Head
			}
		}
		verify := []string{"audit", "verify", "--module", "user", "--head", head}
		require.Zero(t, s.do(t, verify...).code)
		d := s.beside(t, "user")
		off := "DROP TRIGGER audit_no_update"
		if d.Dialect() == "postgres" {
			off = "DROP TRIGGER audit_append_only ON audit"
		}
		require.NoError(t, d.Tx(t.Context(), func(ctx context.Context) error {
			if err := d.Conn(ctx).Exec(off).Error; err != nil {
				return err
			}
			return d.Conn(ctx).Exec("UPDATE audit SET subject = 'nobody' WHERE seq = 2").Error
		}))
		o := s.do(t, verify...)
		require.Equal(t, 3, o.code)
		require.Contains(t, o.err, "the audit log does not hold: user: entry 2 is not what was written")
	})
}
