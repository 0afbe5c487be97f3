package notification

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"cleave/modules/notification/internal/smtptest"
	userv1 "cleave/modules/user/v1"
	"cleave/platform/config"
	"cleave/platform/module"
)

func TestMail(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		t.Run("Deferred", func(t *testing.T) {
			user := w.registered(t)
			w.smtp.Answer(smtptest.RCPT, smtptest.Refuse(450), smtptest.Refuse(451))
			w.confirm(t, user)
			w.mailed(t, user, 1)
			require.Equal(t, []string{"sent"}, w.settled(t, user, 1))
		})
		t.Run("Refused", func(t *testing.T) {
			user := w.registered(t)
			w.smtp.Answer(smtptest.RCPT, smtptest.Refuse(550))
			w.confirm(t, user)
			require.Equal(t, []string{"failed"}, w.settled(t, user, 1))
			require.Empty(t, w.mails(t, user))
			user.inbox(t, 1)
		})
		t.Run("ServerDown", func(t *testing.T) {
			user := w.registered(t)
			w.smtp.Stop()
			w.confirmMany(t, user, 3)
			w.smtp.Restart(t)
			w.mailed(t, user, 3)
		})
		t.Run("AnswerLost", func(t *testing.T) {
			user := w.registered(t)
			w.smtp.Answer(smtptest.DATA, smtptest.ErrCut)
			w.confirm(t, user)
			got := w.mailed(t, user, 2)
			require.Equal(t, got[0].Header["Message-Id"], got[1].Header["Message-Id"], "the repeat can be recognised")
			require.Equal(t, got[0].Header["Date"], got[1].Header["Date"])
		})
	})
}

func TestMailFolder(t *testing.T) {
	eachWith(t, func(_ *config.Config, s *settings) { s.SMTP.Addr = "" }, func(t *testing.T, w *world) {
		user := w.customer(t)
		w.users.publish(t, user.id, &userv1.UserRegistered{UserId: user.id, Email: user.email(), DisplayName: "Ada"})
		w.settled(t, user, 1)
		files, err := filepath.Glob(filepath.Join(w.data, "mail", "*-registered-*.eml"))
		require.NoError(t, err)
		require.Len(t, files, 1)
		data, err := os.ReadFile(files[0])
		require.NoError(t, err)
		m := smtptest.Read(t, data)
		require.Equal(t, user.email(), m.To[0].Address)
		require.Equal(t, "Welcome", m.Subject)
		require.Contains(t, m.Text, "Hello Ada,")
	})
}

func TestSettings(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*settings){
		"modules.notification.smtp.from":                            func(s *settings) { s.SMTP.From = "the shop" },
		"a log-in at the SMTP server needs TLS":                     func(s *settings) { s.SMTP.Addr, s.SMTP.Username, s.SMTP.TLS = "mail.example.org:25", "shop", "none" },
		"modules.notification.smtp: the SMTP server's address \"x:": func(s *settings) { s.SMTP.Addr = "x:0" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := defaults()
			change(s)
			_, err := s.post(&module.Env{Startup: func(string, string) {}})
			require.ErrorContains(t, err, name)
		})
	}
	t.Run("StartupLine", func(t *testing.T) {
		t.Parallel()
		var label, value string
		_, err := defaults().post(&module.Env{DataDir: "data", Startup: func(l, v string) { label, value = l, v }})
		require.NoError(t, err)
		require.Equal(t, "mail", label)
		require.Contains(t, value, ".eml files in "+filepath.Join("data", "mail"))
	})
}
