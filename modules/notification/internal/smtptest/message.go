package smtptest

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"testing"

	"github.com/stretchr/testify/require"
)

// Message is a mail as its reader sees it.
type Message struct {
	Header  mail.Header
	To      []*mail.Address
	Subject string
	Text    string
	HTML    string
}

// Read parses a message (RFC 5322) with a text and an HTML alternative, in this
// order, and nothing else.
func Read(t testing.TB, data []byte) Message {
	t.Helper()
	raw, err := mail.ReadMessage(bytes.NewReader(data))
	require.NoError(t, err)
	m := Message{Header: raw.Header}
	m.To, err = raw.Header.AddressList("To")
	require.NoError(t, err)
	m.Subject, err = new(mime.WordDecoder).DecodeHeader(raw.Header.Get("Subject"))
	require.NoError(t, err)
	kind, params, err := mime.ParseMediaType(raw.Header.Get("Content-Type"))
	require.NoError(t, err)
	require.Equal(t, "multipart/alternative", kind)
	parts := multipart.NewReader(raw.Body, params["boundary"])
	m.Text = part(t, parts, "text/plain")
	m.HTML = part(t, parts, "text/html")
	_, err = parts.NextRawPart()
	require.ErrorIs(t, err, io.EOF)
	return m
}

func part(t testing.TB, parts *multipart.Reader, want string) string {
	t.Helper()
	p, err := parts.NextRawPart()
	require.NoError(t, err)
	kind, params, err := mime.ParseMediaType(p.Header.Get("Content-Type"))
	require.NoError(t, err)
	require.Equal(t, want, kind)
	require.Equal(t, "UTF-8", params["charset"])
	require.Equal(t, "quoted-printable", p.Header.Get("Content-Transfer-Encoding"))
	body, err := io.ReadAll(quotedprintable.NewReader(p))
	require.NoError(t, err)
	return string(bytes.ReplaceAll(body, []byte("\r\n"), []byte("\n")))
}
