// Package wording puts news into words: a title and a body for the inbox, and
// a mail in plain text and HTML. The words are templates, a pair for each kind.
package wording

import (
	"embed"
	"fmt"
	"html/template"
	"net/url"
	"strings"
	texttemplate "text/template"

	"cleave/modules/notification/internal/domain"
)

//go:embed templates
var files embed.FS

// Writer holds the parsed templates. It is safe for concurrent use.
type Writer struct {
	links Links
	text  map[domain.Kind]*texttemplate.Template
	html  map[domain.Kind]*template.Template
}

// Links are the addresses of the pages that take a code, in which TokenPlace stands for it; "" where there is no such page.
type Links struct{ VerifyEmail, ResetPassword string }

// TokenPlace stands for the code in a link.
const TokenPlace = "{token}"

// of returns the link that brings the user with the code, "" when there is none.
func (l Links) of(n domain.News) string {
	link := map[domain.Kind]string{domain.EmailVerification: l.VerifyEmail, domain.PasswordReset: l.ResetPassword}[n.Kind]
	return strings.ReplaceAll(link, TokenPlace, url.QueryEscape(n.Code))
}

// New parses the templates. It fails when a kind lacks one.
func New(links Links) (*Writer, error) {
	w := &Writer{links: links, text: map[domain.Kind]*texttemplate.Template{}, html: map[domain.Kind]*template.Template{}}
	for _, k := range append(domain.Kinds(), domain.SecurityKinds()...) {
		name := "templates/" + string(k)
		var err error
		if w.text[k], err = texttemplate.ParseFS(files, "templates/layout.txt", name+".txt"); err != nil {
			return nil, fmt.Errorf("parse the text templates of %s: %w", k, err)
		}
		if w.html[k], err = template.ParseFS(files, "templates/layout.html", name+".html"); err != nil {
			return nil, fmt.Errorf("parse the HTML templates of %s: %w", k, err)
		}
	}
	return w, nil
}

// words is what templates see.
type words struct {
	domain.News
	Name  string // how to address the user; "" when no name is known
	Title string
	Link  string // to a page that takes the code; "" when there is none
	// CodeUntil is when the code ends, for people.
	CodeUntil string
	Security  bool // the mail comes whatever the user prefers
}

// Notice returns the title and the body for the inbox, both plain text.
func (w *Writer) Notice(n domain.News) (title, body string, err error) {
	data := words{News: n.Clean()}
	if title, err = w.plain(n.Kind, "title", data); err != nil {
		return "", "", err
	}
	body, err = w.plain(n.Kind, "body", data)
	return title, body, err
}

// Mail returns the subject, one line, and the two alternatives of the content.
func (w *Writer) Mail(n domain.News, name string) (subject, text, html string, err error) {
	data := words{News: n.Clean(), Name: domain.Line(name), Link: w.links.of(n), Security: !n.Kind.Valid()}
	if !n.CodeExpires.IsZero() {
		data.CodeUntil = n.CodeExpires.UTC().Format("15:04 MST on 2 January 2006")
	}
	if data.Title, err = w.plain(n.Kind, "title", data); err != nil {
		return "", "", "", err
	}
	if text, err = w.plain(n.Kind, "mail", data); err != nil {
		return "", "", "", err
	}
	var b strings.Builder
	if err := w.html[n.Kind].ExecuteTemplate(&b, "mail", data); err != nil {
		return "", "", "", fmt.Errorf("write the HTML mail of %s: %w", n.Kind, err)
	}
	return data.Title, text, b.String(), nil
}

func (w *Writer) plain(k domain.Kind, name string, data words) (string, error) {
	t, ok := w.text[k]
	if !ok {
		return "", fmt.Errorf("there are no words for news of kind %q", k)
	}
	var b strings.Builder
	if err := t.ExecuteTemplate(&b, name, data); err != nil {
		return "", fmt.Errorf("write the %s of %s: %w", name, k, err)
	}
	return b.String(), nil
}
