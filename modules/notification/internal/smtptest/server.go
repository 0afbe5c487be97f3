// Package smtptest gives tests a real SMTP server in their process, whose
// answers they choose, and reads mails as a mail program would.
package smtptest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"cleave/platform/nettest"
)

// The steps at which a server can refuse a mail.
const (
	MAIL = "MAIL"
	RCPT = "RCPT"
	DATA = "DATA"
)

// ErrCut makes the server take a mail and then cut the connection instead of
// answering.
var ErrCut = errors.New("cut the connection")

// Options describe a server; the zero value speaks plain text with everybody.
type Options struct {
	STARTTLS           bool
	Implicit           bool // TLS from the first byte
	Username, Password string
}

// Server is an SMTP server on a free port of this machine.
type Server struct {
	Addr  string
	Roots *x509.CertPool // who vouches for its certificate

	o        Options
	tls      *tls.Config
	mu       sync.Mutex
	server   *smtp.Server
	listener net.Listener
	answers  map[string][]error
	received []Received
	sessions int
	open     int
}

// Received is a mail that the server has answered with 250, or whose
// connection it has cut.
type Received struct {
	From string
	To   []string
	Data []byte
}

// Start returns a server that runs until the test ends.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	s := &Server{Addr: nettest.FreeAddress(t), o: o, answers: map[string][]error{}}
	s.tls, s.Roots = certificate(t)
	s.Restart(t)
	t.Cleanup(s.Stop)
	return s
}

// Restart begins to listen, on the same port as before.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	listener, err := net.Listen("tcp", s.Addr)
	require.NoError(t, err)
	server := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.sessions++
		s.open++
		return &session{server: s, conn: c, known: s.o.Username == ""}, nil
	}))
	server.Domain, server.AllowInsecureAuth, server.EnableSMTPUTF8 = "localhost", true, true
	server.ErrorLog = log.New(io.Discard, "", 0) // cut connections are what tests are about
	if s.o.STARTTLS {
		server.TLSConfig = s.tls
	}
	if s.o.Implicit {
		listener = tls.NewListener(listener, s.tls)
	}
	s.mu.Lock()
	s.server, s.listener = server, listener
	s.mu.Unlock()
	go func() { _ = server.Serve(listener) }()
}

// Stop ends all connections and refuses new ones.
func (s *Server) Stop() {
	s.mu.Lock()
	listener, server := s.listener, s.server
	s.mu.Unlock()
	_ = listener.Close() // the server may not know of it yet
	_ = server.Close()
}

// Answer sets what the server says at a step, once each; then it accepts.
func (s *Server) Answer(step string, errs ...error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[step] = errs
}

// Received are the mails so far, in the order of arrival.
func (s *Server) Received() []Received {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.received)
}

// Sessions is how many connections there have been.
func (s *Server) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions
}

// Open is how many connections there are.
func (s *Server) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open
}

// Refuse is an answer with a code, such as 550.
func Refuse(code int) error {
	return &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCode{code / 100, 1, 1}, Message: "no such luck for someone@example.org"}
}

func (s *Server) answer(step string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.answers[step]) == 0 {
		return nil
	}
	err := s.answers[step][0]
	s.answers[step] = s.answers[step][1:]
	return err
}

// session is one connection.
type session struct {
	server *Server
	conn   *smtp.Conn
	known  bool
	mail   Received
}

func (s *session) AuthMechanisms() []string {
	if s.server.o.Username == "" {
		return nil
	}
	return []string{sasl.Plain}
}

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, username, password string) error {
		if username != s.server.o.Username || password != s.server.o.Password {
			return smtp.ErrAuthFailed
		}
		s.known = true
		return nil
	}), nil
}

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	if !s.known {
		return smtp.ErrAuthRequired
	}
	s.mail = Received{From: from}
	return s.server.answer(MAIL)
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.mail.To = append(s.mail.To, to)
	return s.server.answer(RCPT)
}

func (s *session) Data(r io.Reader) (err error) {
	if s.mail.Data, err = io.ReadAll(r); err != nil {
		return err
	}
	err = s.server.answer(DATA)
	if err != nil && !errors.Is(err, ErrCut) {
		return err
	}
	s.server.mu.Lock()
	s.server.received = append(s.server.received, s.mail)
	s.server.mu.Unlock()
	if err != nil {
		return s.conn.Conn().Close()
	}
	return nil
}

func (s *session) Reset() { s.mail = Received{} }

func (s *session) Logout() error {
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	s.server.open--
	return nil
}

// certificate is one for this machine that vouches for itself.
func certificate(t testing.TB) (*tls.Config, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	parsed, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, roots
}
