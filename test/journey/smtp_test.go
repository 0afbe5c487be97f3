package journey_test

import (
	"io"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	noterest "cleave/modules/notification/v1/rest"
	orderrest "cleave/modules/order/v1/rest"
)

// postOffice is an SMTP server that keeps what it is given. It puts the first
// mail off, as greylisting servers do.
type postOffice struct {
	mu     sync.Mutex
	putOff bool
	raw    [][]byte
}

func openPostOffice(t testing.TB) (*postOffice, string) {
	t.Helper()
	p := &postOffice{}
	s := smtp.NewServer(p)
	s.Domain = "localhost"
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- s.Serve(listener) }()
	t.Cleanup(func() {
		require.NoError(t, s.Close())
		require.NoError(t, <-done)
	})
	return p, listener.Addr().String()
}

// NewSession implements smtp.Backend.
func (p *postOffice) NewSession(*smtp.Conn) (smtp.Session, error) { return &counter{office: p}, nil }

func (p *postOffice) received() [][]byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.raw)
}

// counter takes mails over one connection. It implements smtp.Session.
type counter struct{ office *postOffice }

func (*counter) Mail(string, *smtp.MailOptions) error { return nil }

func (*counter) Rcpt(string, *smtp.RcptOptions) error { return nil }

func (c *counter) Data(r io.Reader) error {
	content, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	c.office.mu.Lock()
	defer c.office.mu.Unlock()
	if !c.office.putOff {
		c.office.putOff = true
		return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 7, 1}, Message: "come back later"}
	}
	c.office.raw = append(c.office.raw, content)
	return nil
}

func (*counter) Reset() {}

func (*counter) Logout() error { return nil }

// TestSMTP has the mails of an order delivered, each once, the first in a
// second attempt.
func TestSMTP(t *testing.T) {
	t.Parallel()
	office, addr := openPostOffice(t)
	w := newWorld(t, sqliteSite(t, "CLEAVE_MODULES_NOTIFICATION_SMTP_ADDR="+addr, "CLEAVE_MODULES_NOTIFICATION_SMTP_TLS=none",
		"CLEAVE_MODULES_NOTIFICATION_SMTP_FROM=Shop <shop@example.com>", "CLEAVE_MODULES_NOTIFICATION_MAIL_RETRY_MIN=10ms"))
	require.Contains(t, w.server.block, "SMTP through "+addr)
	buyer := w.customer(t, 5000)
	lamp := w.newProduct(t, 1000, 10)

	// Who does not want a kind of mail gets none.
	r, err := buyer.notes.SetNotificationPreferencesWithResponse(t.Context(), &noterest.SetNotificationPreferencesParams{IfMatch: `"0"`},
		noterest.SetNotificationPreferences{Preferences: []noterest.NotificationPreference{{Kind: "cancelled", Channel: "email", Enabled: false}}})
	require.NoError(t, err)
	value(t, r.JSON200, r)
	unwanted := buyer.reaches(t, buyer.place(t, 1, lamp).ID, orderrest.OrderStatusConfirmed)
	buyer.cancel(t, unwanted.ID, "no")
	buyer.told(t, noterest.NotificationKindCancelled, &unwanted.ID)
	o := buyer.reaches(t, buyer.place(t, 1, lamp).ID, orderrest.OrderStatusConfirmed)
	w.admin.ship(t, o.ID)

	var subjects []string
	require.True(t, happens(func() bool {
		subjects = nil
		for _, content := range office.received() {
			if l := parseLetter(t, content); l.to == buyer.email {
				subjects = append(subjects, l.subject)
			}
		}
		return len(subjects) >= 5 // registered, to be verified, confirmed twice, shipped
	}), "not all mails have come")
	w.balanced(t)
	require.Len(t, subjects, 5)
	require.Empty(t, w.eml(t, "*"))
	slices.Sort(subjects)
	require.Len(t, slices.Compact(subjects), 5, "a mail came twice: %v", subjects)
}
