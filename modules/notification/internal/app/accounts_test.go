package app

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cleave/modules/notification/internal/domain"
	"cleave/modules/notification/internal/store"
	"cleave/platform/db"
)

// codes are what the table keeps of a user's mails' codes.
func (w *world) codes(t *testing.T, user string) (codes []string) {
	t.Helper()
	require.NoError(t, w.DB.Conn(t.Context()).Raw("SELECT code FROM mails WHERE user_id = ? ORDER BY created_at, id", user).Scan(&codes).Error)
	return codes
}

// rows counts what all tables hold of a user, but for the memory that they are gone.
func (w *world) rows(t *testing.T, user string) (n int64) {
	t.Helper()
	for _, table := range []string{"recipients", "mutes", "notifications", "mails"} {
		var one int64
		require.NoError(t, w.DB.Conn(t.Context()).Raw(fmt.Sprintf("SELECT count(*) FROM %s WHERE user_id = ?", table), user).Scan(&one).Error)
		n += one
	}
	return n
}

func TestWrite(t *testing.T) {
	each(t, func(t *testing.T, c db.Config) {
		w := setup(t, open(t, c))
		user := w.user(t)
		muted := make([]domain.Preference, 0, len(domain.Kinds()))
		for _, k := range domain.Kinds() {
			muted = append(muted, domain.Preference{Route: domain.Route{Kind: k, Channel: domain.Email}})
		}
		_, err := w.SetPreferences(t.Context(), user, 0, muted)
		require.NoError(t, err)

		reset := domain.News{Kind: domain.PasswordReset, UserID: user, Code: "the-code", CodeExpires: w.now().Add(20 * time.Minute)}
		require.NoError(t, w.Write(t.Context(), reset))
		require.Equal(t, []string{"the-code"}, w.codes(t, user))
		_, err = w.sendBatch(t.Context())
		require.NoError(t, err)
		sent := w.post.mails()
		require.Len(t, sent, 1, "nobody can do without it")
		require.Contains(t, sent[0].Text, "    the-code\n")
		require.Equal(t, []string{""}, w.codes(t, user), "the code is forgotten once it has left")
		list, _, err := w.List(t.Context(), user, store.Filter{Limit: 10})
		require.NoError(t, err)
		require.Empty(t, list, "it comes by mail alone")

		require.NoError(t, w.Write(t.Context(), reset))
		w.skip(21 * time.Minute)
		_, err = w.sendBatch(t.Context())
		require.NoError(t, err)
		require.Len(t, w.post.mails(), 1, "a code that has expired does not leave")
		require.Equal(t, []string{"", ""}, w.codes(t, user))
		require.Contains(t, w.mail(t, user)[1], "failed after 1 the code in the mail has expired")
		require.NotContains(t, w.log.String(), "the-code")
	})
}

func TestForgetUser(t *testing.T) {
	each(t, func(t *testing.T, c db.Config) {
		w := setup(t, open(t, c))
		user, other := w.user(t), w.user(t)
		for _, u := range []string{user, other} {
			require.NoError(t, w.Tell(t.Context(), confirmed(u)))
			_, err := w.SetPreferences(t.Context(), u, 0, []domain.Preference{{Route: domain.Route{Kind: domain.Shipped, Channel: domain.InApp}}})
			require.NoError(t, err)
		}
		_, err := w.sendBatch(t.Context())
		require.NoError(t, err)
		require.NoError(t, w.Tell(t.Context(), confirmed(user)), "and one that has not left")

		require.NoError(t, w.ForgetUser(t.Context(), user))
		require.NoError(t, w.ForgetUser(t.Context(), user), "again")
		require.Zero(t, w.rows(t, user))
		require.EqualValues(t, 4, w.rows(t, other))
		require.Len(t, w.post.mails(), 1, "the mails that this machine keeps are gone too")

		// What was published before may arrive afterwards.
		require.NoError(t, w.Tell(t.Context(), confirmed(user)))
		require.NoError(t, w.Write(t.Context(), domain.News{Kind: domain.PasswordChanged, UserID: user}))
		require.NoError(t, w.Welcome(t.Context(), domain.Contact{UserID: user, Email: "ada@example.org", DisplayName: "Ada"}))
		require.NoError(t, w.KeepContact(t.Context(), domain.Contact{UserID: user, Email: "ada@example.org", DisplayName: "Ada", Version: 9}))
		require.Zero(t, w.rows(t, user))

		w.skip(erasedRetention + time.Hour)
		require.NoError(t, w.forgetMails(t.Context()))
		var left int64
		require.NoError(t, w.DB.Conn(t.Context()).Raw("SELECT count(*) FROM erased_users").Scan(&left).Error)
		require.Zero(t, left)
	})
}

// TestForgetUser_Unknown is of a user of whom no news has arrived yet.
func TestForgetUser_Unknown(t *testing.T) {
	each(t, func(t *testing.T, c db.Config) {
		w := setup(t, open(t, c))
		user := uuid.NewString()
		require.NoError(t, w.ForgetUser(context.WithoutCancel(t.Context()), user))
		require.NoError(t, w.Welcome(t.Context(), domain.Contact{UserID: user, Email: "ada@example.org"}))
		require.Zero(t, w.rows(t, user))
	})
}
