package mail

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	netmail "net/mail"
	"strconv"
	"sync"
	"time"

	gomail "github.com/wneessen/go-mail"

	"cleave/modules/notification/internal/domain"
	"cleave/platform/egress"
	"cleave/platform/fault"
)

// The ways to encrypt the connection.
const (
	STARTTLS = "starttls" // begins in plain text and upgrades (RFC 3207); without TLS nothing is sent
	Implicit = "implicit" // TLS from the first byte (RFC 8314)
	None     = "none"     // plain text
)

// timeout is how long one mail may take, and how long the greeting, the
// handshake and the log-in together.
const timeout = 10 * time.Second

// Server is an SMTP server and how to reach it.
type Server struct {
	Addr     string // host:port
	Username string // empty: no log-in
	Password string
	TLS      string // STARTTLS, Implicit or None
	// TLSConfig is nil for the system's certificate authorities.
	TLSConfig *tls.Config
}

// SMTP sends mails to a server over one connection at a time, which it keeps
// until Idle. It is for one goroutine.
type SMTP struct {
	server Server
	host   string
	port   int
	from   *netmail.Address

	client *gomail.Client // nil: not connected
	mu     sync.Mutex     // conn is closed by whoever ends the context
	conn   net.Conn
}

// NewSMTP returns a sender that connects with the first mail. It fails on a
// malformed address, and on a password that would travel in plain text to
// another machine.
func NewSMTP(s Server, from *netmail.Address) (*SMTP, error) {
	host, p, err := net.SplitHostPort(s.Addr)
	if err != nil {
		return nil, fmt.Errorf("read the SMTP server's address: %w", err)
	}
	port, err := strconv.ParseUint(p, 10, 16)
	if err != nil || port == 0 || host == "" {
		return nil, fmt.Errorf("the SMTP server's address %q is not host:port", s.Addr)
	}
	if s.Username != "" && s.TLS == None && !egress.Loopback(host) {
		return nil, errors.New("a log-in at the SMTP server needs TLS: set tls to starttls or implicit")
	}
	return &SMTP{server: s, host: host, port: int(port), from: from}, nil
}

// Send hands m over. The fault tells what may help:
// Unprocessable – nothing, the server refuses this mail for good (5xx to its
// recipient or content) or it cannot be sent at all;
// Exhausted – a later attempt, the server has put this mail off (4xx), refuses
// the sender, or the connection broke, so that the mail may have arrived;
// Unavailable – the server to be reached or to let us in, whatever the mail.
// A fault's message holds no address; its cause may.
func (s *SMTP) Send(ctx context.Context, m domain.Mail) error {
	msg, err := message(s.from, m)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, s.cut)()
	if s.client == nil {
		if err := s.connect(ctx); err != nil {
			s.cut()
			return fault.New(fault.Unavailable, "mail_server_unavailable", "the SMTP server cannot be used").Wrap(err)
		}
	}
	err = s.client.Send(msg)
	if err != nil {
		s.cut()
		s.client = nil
	}
	if err == nil || msg.IsDelivered() { // the server took it, whatever happened next
		return nil
	}
	return refusal(err)
}

// Idle says goodbye to the server.
func (s *SMTP) Idle() {
	if s.client != nil {
		_ = s.client.Close() // all mails have been answered
		s.cut()
		s.client = nil
	}
}

func (s *SMTP) connect(ctx context.Context) error {
	options := []gomail.Option{
		gomail.WithPort(s.port), gomail.WithTimeout(timeout), gomail.WithDialContextFunc(s.dial),
		gomail.WithTLSConfig(s.tlsConfig()), gomail.WithTLSPolicy(gomail.NoTLS),
	}
	if s.server.TLS == STARTTLS {
		options = append(options, gomail.WithTLSPolicy(gomail.TLSMandatory))
	}
	if s.server.Username != "" {
		options = append(options, gomail.WithUsername(s.server.Username), gomail.WithPassword(s.server.Password),
			gomail.WithOpportunisticSMTPAuth(gomail.SMTPAuthSCRAMSHA256, gomail.SMTPAuthPlain, gomail.SMTPAuthLogin))
	}
	client, err := gomail.NewClient(s.host, options...)
	if err != nil {
		return err
	}
	if err := client.DialWithContext(ctx); err != nil {
		return err
	}
	s.client = client
	return nil
}

func (s *SMTP) tlsConfig() *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.server.TLSConfig != nil {
		c = s.server.TLSConfig.Clone()
	}
	c.ServerName = s.host
	return c
}

// dial keeps hold of the connection, which the library leaves open when the
// handshake or the log-in fails.
func (s *SMTP) dial(ctx context.Context, network, addr string) (conn net.Conn, err error) {
	if s.server.TLS == Implicit {
		conn, err = (&tls.Dialer{Config: s.tlsConfig()}).DialContext(ctx, network, addr)
	} else {
		conn, err = new(net.Dialer).DialContext(ctx, network, addr)
	}
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn = conn
	return conn, nil
}

// cut closes the connection under whatever is using it.
func (s *SMTP) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil {
		_ = s.conn.Close()
		s.conn = nil
	}
}

// refusal is the fault for a failed attempt.
func refusal(err error) error {
	var failure *gomail.SendError
	if !errors.As(err, &failure) || failure.ErrorCode() == 0 {
		return fault.New(fault.Exhausted, "mail_connection_lost", "the connection to the SMTP server broke").Wrap(err)
	}
	answer := strconv.Itoa(failure.ErrorCode())
	if e := failure.EnhancedStatusCode(); e != "" {
		answer += " " + e
	}
	if failure.ErrorCode() >= 500 && failure.Reason != gomail.ErrSMTPMailFrom {
		return fault.New(fault.Unprocessable, "mail_refused", "the SMTP server refused the mail: %s", answer).Wrap(err)
	}
	return fault.New(fault.Exhausted, "mail_deferred", "the SMTP server put the mail off: %s", answer).Wrap(err)
}
