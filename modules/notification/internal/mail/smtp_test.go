package mail

import (
	"context"
	"crypto/tls"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"cleave/modules/notification/internal/domain"
	"cleave/modules/notification/internal/smtptest"
	"cleave/platform/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func letter(id string) domain.Mail {
	return domain.Mail{
		ID: id, Kind: domain.Confirmed, To: domain.Contact{Email: "ada@example.org", DisplayName: "Ada Lovelace"},
		Subject: "Order 7K3M is confirmed", Text: "Grüße,\n.\nsoon\n", HTML: "<p>Grüße</p>\n",
		CreatedAt: time.Date(2026, 11, 23, 9, 35, 1, 0, time.UTC),
	}
}

// setup returns a server and a sender that is connected to it; change may bend
// what the sender is told.
func setup(t *testing.T, o smtptest.Options, change func(*Server)) (*smtptest.Server, *SMTP) {
	t.Helper()
	server := smtptest.Start(t, o)
	target := Server{Addr: server.Addr, TLS: None, Username: o.Username, Password: o.Password, TLSConfig: &tls.Config{RootCAs: server.Roots}}
	if change != nil {
		change(&target)
	}
	from, err := ParseFrom("Shop <no-reply@shop.example>")
	require.NoError(t, err)
	s, err := NewSMTP(target, from)
	require.NoError(t, err)
	t.Cleanup(s.Idle)
	return server, s
}

func TestSend(t *testing.T) {
	t.Parallel()
	server, s := setup(t, smtptest.Options{}, nil)
	require.NoError(t, s.Send(t.Context(), letter("one")))
	require.NoError(t, s.Send(t.Context(), letter("two")))
	require.Equal(t, 1, server.Sessions(), "both over one connection")
	s.Idle()
	require.NoError(t, s.Send(t.Context(), letter("three")))
	require.Equal(t, 2, server.Sessions())

	got := server.Received()
	require.Len(t, got, 3)
	require.Equal(t, "no-reply@shop.example", got[0].From)
	require.Equal(t, []string{"ada@example.org"}, got[0].To)
	m := smtptest.Read(t, got[0].Data)
	require.Equal(t, "Ada Lovelace", m.To[0].Name)
	require.Equal(t, "ada@example.org", m.To[0].Address)
	require.Equal(t, `"Shop" <no-reply@shop.example>`, m.Header.Get("From"))
	require.Equal(t, "Order 7K3M is confirmed", m.Subject)
	require.Equal(t, "<one@shop.example>", m.Header.Get("Message-Id"))
	require.Equal(t, "Mon, 23 Nov 2026 09:35:01 +0000", m.Header.Get("Date"))
	require.Equal(t, "auto-generated", m.Header.Get("Auto-Submitted"))
	require.Equal(t, letter("").Text, m.Text)
	require.Equal(t, letter("").HTML, m.HTML)
}

func TestSendHostile(t *testing.T) {
	t.Parallel()
	for name, display := range map[string]string{
		"LineBreaks": "Ada\r\nBcc: eve@evil.test\r\n\r\nBuy now",
		"Address":    `Ada" <eve@evil.test>, "x`,
		"Word":       "=?utf-8?q?=0D=0ABcc=3A_eve=40evil.test?=",
		"HTML":       "<b>Ada</b>",
		"Unicode":    "Zoë 🙂 " + strings.Repeat("長", 300),
		"Broken":     "Ada\xff\xfe\x00",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, s := setup(t, smtptest.Options{}, nil)
			m := letter("x")
			m.To.DisplayName, m.Subject = display, "Hi "+display
			require.NoError(t, s.Send(t.Context(), m))
			got := server.Received()
			require.Len(t, got, 1)
			require.Equal(t, []string{"ada@example.org"}, got[0].To, "in the envelope")
			read := smtptest.Read(t, got[0].Data)
			require.Empty(t, read.Header["Bcc"])
			require.NotContains(t, read.Subject, "\n")
			require.NotContains(t, read.To[0].Name, "\n")
			require.Len(t, read.Header, 8, "%v", read.Header)
			require.Len(t, read.To, 1)
			require.Equal(t, "ada@example.org", read.To[0].Address)
			require.Equal(t, letter("").Text, read.Text)
			for line := range strings.SplitSeq(string(got[0].Data), "\r\n") {
				require.LessOrEqual(t, len(line), 998, "RFC 5322 section 2.1.1")
			}
		})
	}
}

func TestSendBadAddress(t *testing.T) {
	t.Parallel()
	server, s := setup(t, smtptest.Options{}, nil)
	for _, address := range []string{"", "ada", "ada@example.org, eve@evil.test", "Eve <eve@evil.test>", "ada@example.org\r\nRCPT TO:<eve@evil.test>", "<eve@evil.test>"} {
		m := letter("x")
		m.To.Email = address
		err := s.Send(t.Context(), m)
		require.Equal(t, fault.Unprocessable, fault.KindOf(err), "%q", address)
		require.Equal(t, "mail_address_invalid", fault.CodeOf(err))
	}
	require.Zero(t, server.Sessions())
}

func TestSendSecurely(t *testing.T) {
	t.Parallel()
	login := smtptest.Options{Username: "shop", Password: "s3cret"}
	starttls, implicit := login, login
	starttls.STARTTLS, implicit.Implicit = true, true
	t.Run("STARTTLS", func(t *testing.T) {
		t.Parallel()
		_, s := setup(t, starttls, func(s *Server) { s.TLS = STARTTLS })
		require.NoError(t, s.Send(t.Context(), letter("x")))
	})
	t.Run("Implicit", func(t *testing.T) {
		t.Parallel()
		_, s := setup(t, implicit, func(s *Server) { s.TLS = Implicit })
		require.NoError(t, s.Send(t.Context(), letter("x")))
	})
	for name, c := range map[string]struct {
		o      smtptest.Options
		change func(*Server)
	}{
		"STARTTLSNotOffered": {login, func(s *Server) { s.TLS = STARTTLS }},
		"UnknownAuthority":   {starttls, func(s *Server) { s.TLS, s.TLSConfig = STARTTLS, nil }},
		"UnknownAuthority2":  {implicit, func(s *Server) { s.TLS, s.TLSConfig = Implicit, nil }},
		"WrongPassword":      {starttls, func(s *Server) { s.TLS, s.Password = STARTTLS, "guess" }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, s := setup(t, c.o, c.change)
			err := s.Send(t.Context(), letter("x"))
			require.Equal(t, fault.Unavailable, fault.KindOf(err), "%v", err)
			require.Empty(t, server.Received())
			require.Eventually(t, func() bool { return server.Open() == 0 }, time.Minute, time.Millisecond, "the connection stays open")
		})
	}
}

func TestSendRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		step string
		err  error
		kind fault.Kind
		says string
	}{
		"UnknownRecipient": {smtptest.RCPT, smtptest.Refuse(550), fault.Unprocessable, "the SMTP server refused the mail: 550 5.1.1"},
		"Greylisted":       {smtptest.RCPT, smtptest.Refuse(451), fault.Exhausted, "the SMTP server put the mail off: 451 4.1.1"},
		"Content":          {smtptest.DATA, smtptest.Refuse(554), fault.Unprocessable, "the SMTP server refused the mail: 554 5.1.1"},
		"Overloaded":       {smtptest.DATA, smtptest.Refuse(452), fault.Exhausted, "the SMTP server put the mail off: 452 4.1.1"},
		"Sender":           {smtptest.MAIL, smtptest.Refuse(550), fault.Exhausted, "the SMTP server put the mail off: 550 5.1.1"},
		"NoAnswer":         {smtptest.DATA, smtptest.ErrCut, fault.Exhausted, "the connection to the SMTP server broke"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, s := setup(t, smtptest.Options{}, nil)
			server.Answer(c.step, c.err)
			err := s.Send(t.Context(), letter("x"))
			require.Equal(t, c.kind, fault.KindOf(err), "%v", err)
			require.Equal(t, c.says, fault.From(err).Message)
			require.NoError(t, s.Send(t.Context(), letter("y")), "the next mail")
		})
	}
}

func TestSendServerDown(t *testing.T) {
	t.Parallel()
	server, s := setup(t, smtptest.Options{}, nil)
	server.Stop()
	err := s.Send(t.Context(), letter("x"))
	require.Equal(t, fault.Unavailable, fault.KindOf(err))
	server.Restart(t)
	require.NoError(t, s.Send(t.Context(), letter("x")))
	server.Stop()
	require.Error(t, s.Send(t.Context(), letter("y")), "over the connection that has ended")
	server.Restart(t)
	require.NoError(t, s.Send(t.Context(), letter("y")))
	require.Len(t, server.Received(), 2)
}

func TestSendSilentServer(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	_, s := setup(t, smtptest.Options{}, func(s *Server) { s.Addr = listener.Addr().String() })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Send(ctx, letter("x")) }()
	conn, err := listener.Accept()
	require.NoError(t, err)
	defer conn.Close()
	cancel()
	require.Equal(t, fault.Unavailable, fault.KindOf(<-done), "the context ends the wait")
}

func TestNewSMTP(t *testing.T) {
	t.Parallel()
	from, err := ParseFrom("a@b.example")
	require.NoError(t, err)
	for name, s := range map[string]Server{
		"NoPort":         {Addr: "mail.example.org"},
		"PortZero":       {Addr: "mail.example.org:0"},
		"NoHost":         {Addr: ":25"},
		"PasswordInOpen": {Addr: "mail.example.org:25", Username: "shop", Password: "x", TLS: None},
	} {
		_, err := NewSMTP(s, from)
		require.Error(t, err, name)
	}
	for _, bad := range []string{"", "shop", "a@b, c@d", "a@b\r\nBcc: c@d"} {
		_, err := ParseFrom(bad)
		require.Error(t, err, "%q", bad)
	}
}
