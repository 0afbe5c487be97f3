package journey_test

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// letter is a mail as its reader sees it.
type letter struct{ to, subject, text, html string }

func (l letter) names(s string) bool { return strings.Contains(l.text, s) }

// parseLetter reads a message (RFC 5322) that holds plain text and HTML.
func parseLetter(t testing.TB, content []byte) (l letter) {
	t.Helper()
	m, err := mail.ReadMessage(bytes.NewReader(content))
	require.NoError(t, err, "%s", content)
	to, err := m.Header.AddressList("To")
	require.NoError(t, err)
	require.Len(t, to, 1)
	l.to = to[0].Address
	l.subject, err = new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	require.NoError(t, err)
	require.NotEmpty(t, m.Header.Get("Message-Id"))
	require.NotEmpty(t, m.Header.Get("Date"))
	media, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	require.NoError(t, err)
	require.Equal(t, "multipart/alternative", media)
	for parts := multipart.NewReader(m.Body, params["boundary"]); ; {
		part, err := parts.NextRawPart()
		if err == io.EOF {
			return l
		}
		require.NoError(t, err)
		var body io.Reader = part
		if part.Header.Get("Content-Transfer-Encoding") == "quoted-printable" {
			body = quotedprintable.NewReader(part)
		}
		text, err := io.ReadAll(body)
		require.NoError(t, err)
		switch media, _, err := mime.ParseMediaType(part.Header.Get("Content-Type")); media {
		case "text/plain":
			l.text = string(text)
		case "text/html":
			l.html = string(text)
		default:
			t.Fatalf("a part of the type %q %v", media, err)
		}
	}
}
