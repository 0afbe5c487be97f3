package wording

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cleave/modules/notification/internal/domain"
)

func setup(t *testing.T) *Writer {
	t.Helper()
	w, err := New(Links{})
	require.NoError(t, err)
	return w
}

// What the API promises of a notification's texts.
var (
	titles = regexp.MustCompile(`^[^\x00-\x1F\x7F]{1,200}$`)
	bodies = regexp.MustCompile(`^[^\x00-\x08\x0B\x0C\x0E-\x1F\x7F]*$`)
)

func TestWriter_Security(t *testing.T) {
	t.Parallel()
	w, err := New(Links{ResetPassword: "https://shop.example/reset#" + TokenPlace})
	require.NoError(t, err)
	for _, kind := range domain.SecurityKinds() {
		n := domain.News{Kind: kind, Code: "abc-DEF_1", CodeExpires: time.Date(2026, 11, 23, 9, 50, 0, 0, time.UTC)}
		subject, text, html, err := w.Mail(n, "Ada")
		require.NoError(t, err)
		require.NotEmpty(t, subject)
		takes := kind == domain.EmailVerification || kind == domain.PasswordReset
		for _, content := range []string{text, html} {
			require.Contains(t, content, "the security of your account", kind)
			require.NotContains(t, content, "preferences", kind)
			require.Equal(t, takes, strings.Contains(content, "abc-DEF_1"), kind)
			require.Equal(t, takes, strings.Contains(content, "09:50 UTC on 23 November 2026"), kind)
			require.Equal(t, kind == domain.PasswordReset, strings.Contains(content, "https://shop.example/reset#abc-DEF_1"), kind)
		}
	}
}

func TestWriter(t *testing.T) {
	t.Parallel()
	w := setup(t)
	for _, kind := range domain.Kinds() {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			n := domain.News{Kind: kind, Number: "7K3M-9QXD", Reason: "Ordered by mistake", Tracking: "JD0146"}
			title, body, err := w.Notice(n)
			require.NoError(t, err)
			subject, text, html, err := w.Mail(n, "Ada")
			require.NoError(t, err)
			require.Equal(t, title, subject)
			require.Regexp(t, titles, title)
			require.Regexp(t, bodies, body)
			require.Contains(t, text, "Hello Ada,\n\n"+body+"\n")
			require.Contains(t, html, "<h1 style=\"font-size: 1.3em\">"+title+"</h1>")
			require.Contains(t, html, "Hello Ada,")
			for _, word := range []string{n.Number, n.Reason, n.Tracking} {
				require.Equal(t, strings.Contains(text, word), strings.Contains(html, word), "both alternatives tell of %s", word)
			}
		})
		t.Run(string(kind)+"/Hostile", func(t *testing.T) {
			t.Parallel()
			evil := strings.Repeat("<script>\"'&\r\nBcc: eve@evil.test\x00{{.}}", 200)
			n := domain.News{Kind: kind, Number: evil, Reason: evil, Tracking: evil}
			title, body, err := w.Notice(n)
			require.NoError(t, err)
			require.Regexp(t, titles, title)
			require.Regexp(t, bodies, body)
			require.LessOrEqual(t, len(body), 4000)
			subject, _, html, err := w.Mail(n, evil)
			require.NoError(t, err)
			require.NotContains(t, html, "<script>")
			require.NotContains(t, subject, "\n")
		})
		t.Run(string(kind)+"/NothingKnown", func(t *testing.T) {
			t.Parallel()
			_, text, html, err := w.Mail(domain.News{Kind: kind}, "")
			require.NoError(t, err)
			require.Contains(t, text, "Hello,")
			require.Contains(t, html, "Hello,")
			require.NotContains(t, text, "Reason")
			require.NotContains(t, html, "carrier")
		})
	}
	t.Run("UnknownKind", func(t *testing.T) {
		t.Parallel()
		_, _, err := w.Notice(domain.News{Kind: "lost"})
		require.Error(t, err)
		_, _, _, err = w.Mail(domain.News{Kind: "lost"}, "Ada")
		require.Error(t, err)
	})
}

func TestReasons(t *testing.T) {
	t.Parallel()
	w := setup(t)
	for _, c := range []struct {
		kind         domain.Kind
		reason, want string
	}{
		{domain.Rejected, "insufficient_credit", "Your credit does not cover it."},
		{domain.Rejected, "out_of_stock", "Not everything that you ordered is in stock."},
		{domain.Rejected, "user_disabled", "Your account has been disabled."},
		{domain.Rejected, "timeout", "It could not be processed."},
		{domain.Cancelled, "user_disabled", "Your account has been disabled."},
		{domain.Cancelled, "Not needed any more", "Not needed any more"},
	} {
		n := domain.News{Kind: c.kind, Number: "1", Reason: c.reason}
		_, body, err := w.Notice(n)
		require.NoError(t, err)
		require.Contains(t, body, c.want)
		_, _, html, err := w.Mail(n, "Ada")
		require.NoError(t, err)
		require.Contains(t, html, c.want)
	}
}
