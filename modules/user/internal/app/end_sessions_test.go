package app_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cleave/modules/user/internal/app"
	"cleave/modules/user/internal/domain"
	"cleave/modules/user/internal/store"
	userv1 "cleave/modules/user/v1"
)

func TestSessions(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		u, stranger := f.registered(t, "ada@example.com"), f.registered(t, "eve@example.com")
		phone := store.Client{UserAgent: "phone", Address: "192.0.2.1"}
		first, err := f.LogIn(app.WithClient(t.Context(), phone), string(u.Email), secret)
		require.NoError(t, err)
		f.login(t, stranger)
		f.clock.Store(int64(time.Minute))
		second := f.login(t, u)

		sessions := func() []store.Session {
			list, err := f.Sessions(t.Context(), u.ID)
			require.NoError(t, err)
			return list
		}
		list := sessions()
		require.Len(t, list, 2)
		require.Equal(t, []string{f.principal(t, second).Session, f.principal(t, first).Session}, []string{list[0].ID, list[1].ID}, "the newest first")
		require.Equal(t, phone, list[1].Client)
		require.Equal(t, list[1].CreatedAt, list[1].LastUsedAt)

		moved := store.Client{UserAgent: "phone", Address: "192.0.2.2"}
		_, err = f.RefreshSession(app.WithClient(t.Context(), moved), first.Refresh, "")
		require.NoError(t, err)
		list = sessions()
		require.Equal(t, moved, list[1].Client)
		require.True(t, list[1].LastUsedAt.After(list[1].CreatedAt))

		f.clock.Store(int64(sessionTTL + time.Second))
		require.Len(t, sessions(), 1, "the first has expired")
	})
}

func TestEndSessions(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		u, stranger := f.registered(t, "ada@example.com"), f.registered(t, "eve@example.com")
		here, there, third := f.login(t, u), f.login(t, u), f.login(t, u)
		theirs := f.principal(t, f.login(t, stranger)).Session
		p, id := f.principal(t, here), f.principal(t, there).Session

		require.ErrorIs(t, f.EndSessions(ctx, p, "wrong horse", id), domain.ErrPasswordWrong)
		require.ErrorIs(t, f.EndSessions(ctx, p, secret, theirs), domain.ErrSessionNotFound)
		require.ErrorIs(t, f.EndSessions(ctx, p, secret, f.NewID()), domain.ErrSessionNotFound)
		require.EqualValues(t, 4, f.count(t, "SELECT count(*) FROM sessions WHERE revoked_at = 0"))

		require.NoError(t, f.EndSessions(ctx, p, secret, id))
		require.ErrorIs(t, f.EndSessions(ctx, p, secret, id), domain.ErrSessionNotFound)
		_, err := f.RefreshSession(ctx, there.Refresh, "")
		require.ErrorIs(t, err, domain.ErrRefreshToken)

		require.EqualValues(t, 1, f.events(t, userv1.Revoked, u.ID), "access tokens end with their session")

		require.NoError(t, f.EndSessions(ctx, p, secret, ""))
		require.EqualValues(t, 2, f.events(t, userv1.Revoked, u.ID))
		_, err = f.RefreshSession(ctx, third.Refresh, "")
		require.ErrorIs(t, err, domain.ErrRefreshToken)
		_, err = f.RefreshSession(ctx, here.Refresh, "")
		require.NoError(t, err, "the current one goes on")
		require.EqualValues(t, 1, f.count(t, "SELECT count(*) FROM sessions WHERE revoked_at = 0 AND user_id = ?", stranger.ID))
	})
}
