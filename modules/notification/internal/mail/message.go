// Package mail makes messages (RFC 5322) and hands them to an SMTP server
// (RFC 5321) or writes them into a folder.
//
// A mail may leave twice, after a crash or a lost answer: both copies then have
// the same Message-ID and Date.
package mail

import (
	"fmt"
	netmail "net/mail"
	"strings"

	gomail "github.com/wneessen/go-mail"

	"cleave/modules/notification/internal/domain"
	"cleave/platform/fault"
)

// ParseFrom reads a sender, such as "Shop <no-reply@example.org>".
func ParseFrom(s string) (*netmail.Address, error) {
	from, err := netmail.ParseAddress(s)
	if err != nil {
		return nil, fmt.Errorf("%q is not an address like no-reply@example.org or Shop <no-reply@example.org>: %w", s, err)
	}
	return from, nil
}

// message makes the message for m. The fault is Unprocessable, code
// mail_address_invalid, when nothing can be sent to m's address.
func message(from *netmail.Address, m domain.Mail) (*gomail.Msg, error) {
	to, err := netmail.ParseAddress(m.To.Email)
	if err != nil || to.Name != "" || strings.ContainsAny(m.To.Email, "<>\r\n") {
		return nil, fault.New(fault.Unprocessable, "mail_address_invalid", "the recipient's address is malformed").Wrap(err)
	}
	to.Name = headerText(m.To.DisplayName)

	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	msg.FromMailAddress(from)
	msg.ToMailAddress(to)
	msg.Subject(headerText(m.Subject))
	msg.SetDateWithValue(m.CreatedAt.UTC())
	msg.SetMessageIDWithValue(m.ID + from.Address[strings.LastIndexByte(from.Address, '@'):])
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: no out-of-office replies, please
	msg.SetBodyString(gomail.TypeTextPlain, m.Text)
	msg.AddAlternativeString(gomail.TypeTextHTML, m.HTML)
	return msg, nil
}

// headerText is s on one line, and not to be taken for an encoded word (RFC
// 2047), which could hold anything.
func headerText(s string) string { return strings.ReplaceAll(domain.Line(s), "=?", "= ?") }
