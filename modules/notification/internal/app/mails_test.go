package app

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"cleave/modules/notification/internal/domain"
	"cleave/modules/notification/internal/store"
	"cleave/platform/db"
	"cleave/platform/fault"
)

var (
	errDeferred = fault.New(fault.Exhausted, "mail_deferred", "later").Wrap(errors.New("not for ada@example.org"))
	errRefused  = fault.New(fault.Unprocessable, "mail_refused", "never").Wrap(errors.New("not for ada@example.org"))
	errDown     = fault.New(fault.Unavailable, "mail_server_unavailable", "down")
)

func TestSendMails(t *testing.T) {
	each(t, func(t *testing.T, c db.Config) {
		w := setup(t, open(t, c))
		step := func(t *testing.T, want int) {
			t.Helper()
			n, err := w.sendBatch(t.Context())
			require.NoError(t, err)
			require.Equal(t, want, n)
		}
		t.Run("Deferred", func(t *testing.T) {
			user := w.user(t)
			require.NoError(t, w.Tell(t.Context(), confirmed(user)))
			w.post.answers = []error{errDeferred, errors.New("what?")}
			step(t, 1)
			require.Equal(t, []string{"queued after 1 later: not for ada@example.org"}, w.mail(t, user))
			step(t, 0)
			w.skip(time.Minute)
			step(t, 1)
			require.Equal(t, []string{"queued after 2 what?"}, w.mail(t, user))
			w.skip(2 * time.Minute)
			step(t, 1)
			require.Equal(t, []string{"sent after 3 "}, w.mail(t, user))
			step(t, 0)
			sent := w.post.mails()
			require.Len(t, sent, 1)
			require.Equal(t, "Order 7K3M-9QXD is confirmed", sent[0].Subject)
			require.Contains(t, sent[0].Text, "Hello Ada,")
		})
		t.Run("Refused", func(t *testing.T) {
			user := w.user(t)
			require.NoError(t, w.Tell(t.Context(), confirmed(user)))
			w.post.answers = []error{errRefused}
			step(t, 1)
			require.Equal(t, []string{"failed after 1 never: not for ada@example.org"}, w.mail(t, user))
			w.skip(time.Hour)
			step(t, 0)
		})
		t.Run("ServerDown", func(t *testing.T) {
			user := w.user(t)
			for range 3 {
				require.NoError(t, w.Tell(t.Context(), confirmed(user)))
			}
			w.post.answers = []error{errDown}
			step(t, 3)
			require.Equal(t, slices.Repeat([]string{"queued after 1 down"}, 3), w.mail(t, user), "one attempt stands for all")
			w.skip(time.Minute)
			step(t, 3)
			require.Equal(t, slices.Repeat([]string{"sent after 2 "}, 3), w.mail(t, user))
		})
		t.Run("GivenUp", func(t *testing.T) {
			user := w.user(t)
			require.NoError(t, w.Tell(t.Context(), confirmed(user)))
			w.skip(w.Mail.GiveUp)
			w.post.answers = []error{errDeferred}
			step(t, 1)
			require.Equal(t, []string{"failed after 1 later: not for ada@example.org"}, w.mail(t, user))
		})
		t.Run("AddressUnknown", func(t *testing.T) {
			user := uuid.NewString()
			require.NoError(t, w.Tell(t.Context(), confirmed(user)))
			w.skip(time.Hour)
			step(t, 0)
			list, _, err := w.List(t.Context(), user, store.Filter{Limit: 10})
			require.NoError(t, err)
			require.Len(t, list, 1, "the inbox does not wait")
			require.NoError(t, w.KeepContact(t.Context(), domain.Contact{UserID: user, Email: "late@example.org"}))
			step(t, 1)
			require.Equal(t, []string{"sent after 1 "}, w.mail(t, user))
		})
		t.Run("AddressChanged", func(t *testing.T) {
			user := w.user(t)
			require.NoError(t, w.Tell(t.Context(), confirmed(user)))
			require.NoError(t, w.KeepContact(t.Context(), domain.Contact{UserID: user, Email: "new@example.org", Version: 1}))
			step(t, 1)
			sent := w.post.mails()
			require.Equal(t, "new@example.org", sent[len(sent)-1].To.Email)
		})
		t.Run("LeaseRunsOut", func(t *testing.T) {
			user := w.user(t)
			require.NoError(t, w.Tell(t.Context(), confirmed(user)))
			var lost []store.QueuedMail
			require.NoError(t, w.DB.Tx(t.Context(), func(ctx context.Context) (err error) {
				lost, err = w.Store.ClaimMails(ctx, w.App.now(), mailLease, 10)
				return err
			}))
			require.Len(t, lost, 1)
			step(t, 0)
			w.skip(mailLease)
			step(t, 1)
			require.NoError(t, w.settle(t.Context(), lost[0], store.Outcome{State: store.MailFailed, Cause: "too late"}))
			require.Equal(t, []string{"sent after 2 "}, w.mail(t, user), "the process that lost the claim has no say")
		})
		t.Run("LogsNothingPersonal", func(t *testing.T) {
			require.Contains(t, w.log.String(), "mail sent")
			require.Contains(t, w.log.String(), "cause=never")
			require.NotContains(t, w.log.String(), "@")
			require.NotContains(t, w.log.String(), "Ada")
			require.NotContains(t, w.log.String(), "7K3M-9QXD")
		})
	})
}

func TestSendMailsShared(t *testing.T) {
	each(t, func(t *testing.T, c db.Config) {
		const mails, processes = 100, 4
		d := open(t, c)
		first := setup(t, d)
		user := first.user(t)
		for range mails {
			require.NoError(t, first.Tell(t.Context(), confirmed(user)))
		}
		all := []*world{first}
		for range processes - 1 {
			all = append(all, setup(t, d))
		}
		for _, w := range all {
			background(t, w.SendMails)
		}
		count := func() map[string]int {
			sent := map[string]int{}
			for _, w := range all {
				for _, m := range w.post.mails() {
					sent[m.ID]++
				}
			}
			return sent
		}
		require.Eventually(t, func() bool { return len(count()) == mails }, patience, tick)
		for _, n := range slices.Collect(maps.Values(count())) {
			require.Equal(t, 1, n, "no two processes sent one mail")
		}
		require.EventuallyWithT(t, func(t *assert.CollectT) {
			require.Equal(t, slices.Repeat([]string{"sent after 1 "}, mails), first.mail(t, user))
		}, patience, tick)
	})
}

func TestSendMailsStop(t *testing.T) {
	each(t, func(t *testing.T, c db.Config) {
		w := setup(t, open(t, c))
		user := w.user(t)
		for range 3 {
			require.NoError(t, w.Tell(t.Context(), confirmed(user)))
		}
		under := make(chan struct{})
		release := make(chan struct{})
		w.post.during = func(context.Context, domain.Mail) {
			close(under)
			<-release
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = w.SendMails(ctx)
		}()
		<-under
		cancel()
		close(release)
		<-done
		require.Equal(t, []string{"sent after 1 ", "queued after 0 ", "queued after 0 "}, w.mail(t, user),
			"the one on its way arrives, the others are given back untried")
	})
}

func TestForgetMails(t *testing.T) {
	each(t, func(t *testing.T, c db.Config) {
		w := setup(t, open(t, c))
		known, unknown := w.user(t), uuid.NewString()
		require.NoError(t, w.Tell(t.Context(), confirmed(known)))
		require.NoError(t, w.Tell(t.Context(), confirmed(unknown)))
		_, err := w.sendBatch(t.Context())
		require.NoError(t, err)
		require.NoError(t, w.forgetMails(t.Context()))
		require.Equal(t, []string{"queued after 0 "}, w.mail(t, unknown))

		w.skip(w.Mail.GiveUp + time.Minute)
		require.NoError(t, w.Tell(t.Context(), confirmed(unknown)))
		require.NoError(t, w.forgetMails(t.Context()))
		require.Equal(t, []string{"failed after 0 the address never became known", "queued after 0 "}, w.mail(t, unknown))
		require.Equal(t, []string{"sent after 1 "}, w.mail(t, known))

		w.skip(mailRetention)
		require.NoError(t, w.forgetMails(t.Context()))
		require.Empty(t, w.mail(t, known))
	})
}
