package journey_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// over waits until the server has ended a stream, and returns how long that took.
func (s *stream) over(t testing.TB) time.Duration {
	t.Helper()
	began := time.Now()
	select {
	case <-s.ended:
	case <-time.After(patience):
		t.Fatal("the stream goes on")
	}
	return time.Since(began)
}

// goesOn asserts that a stream is still there.
func (s *stream) goesOn(t testing.TB) {
	t.Helper()
	select {
	case <-s.ended:
		t.Fatal("the stream has ended")
	default:
	}
}

// TestStreamEndsWithAccess follows notifications while the right to them goes: the open connection ends with it.
func TestStreamEndsWithAccess(t *testing.T) {
	eachSite(t, func(t *testing.T, s *site) {
		w := newWorld(t, s)
		bystander := w.customer(t, 0)
		beside := bystander.follow(t, nil)

		t.Run("LogOut", func(t *testing.T) {
			c := w.customer(t, 0)
			stream := c.follow(t, nil)
			c.send(t, "DELETE", "/api/v1/sessions/current", "")
			t.Logf("the stream ended after %s", stream.over(t))
		})
		t.Run("Disabled", func(t *testing.T) {
			c := w.customer(t, 0)
			stream := c.follow(t, nil)
			require.Equal(t, 200, w.admin.send(t, "POST", "/api/v1/users/"+c.id.String()+"/disable", "").status)
			t.Logf("the stream ended after %s", stream.over(t))
		})
		t.Run("ByOperator", func(t *testing.T) {
			c := w.customer(t, 0)
			stream := c.follow(t, nil)
			var rows []struct{ Ended int }
			s.data(t, &rows, "user", "session", "end", c.id.String())
			require.Equal(t, 1, rows[0].Ended)
			t.Logf("the stream ended after %s", stream.over(t))
			require.Equal(t, 1, s.do(t, "user", "session", "end").code, "nobody is named")
			require.Equal(t, 1, s.do(t, "user", "session", "end", c.id.String(), "--all").code)
		})
		t.Run("OtherRoles", func(t *testing.T) {
			c := w.customer(t, 0)
			stream := c.follow(t, nil)
			type row struct{ Email, Roles string }
			var rows []row
			s.data(t, &rows, "user", "role", "set", c.id.String(), "--role", "support")
			require.Equal(t, []row{{c.email, "support"}}, rows)
			t.Logf("the stream ended after %s", stream.over(t))
			refused(t, c.send(t, "GET", "/api/v1/me", ""), 401, "token_revoked")
			c.logIn(t, c.email)
			require.Equal(t, 200, c.send(t, "GET", "/api/v1/users", "").status, "what support may")
			s.data(t, &rows, "user", "role", "show", c.id.String())
			require.Equal(t, []row{{c.email, "support"}}, rows)
			for role, says := range map[string]string{
				"customer": "there must be an administrator", "service": "customer, support, admin",
			} {
				o := s.do(t, "user", "role", "set", w.admin.id.String(), "--role", role)
				require.Equal(t, 1, o.code)
				require.Contains(t, o.err, says)
			}
		})
		beside.goesOn(t)
	})
}

// TestStreamEndsWithToken has tokens that live as short as may be.
func TestStreamEndsWithToken(t *testing.T) {
	t.Parallel()
	const ttl = 5 * time.Second
	w := newWorld(t, sqliteSite(t, "CLEAVE_AUTH_ACCESS_TTL="+ttl.String()))
	c := w.customer(t, 0)
	stream := c.follow(t, nil)
	took := stream.over(t)
	require.LessOrEqual(t, took, ttl+5*time.Second, "with time for a loaded machine")
	require.Empty(t, stream.events)
}
