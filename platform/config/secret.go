package config

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
)

// maxSecret bounds what a reference may yield, in bytes.
const maxSecret = 64 << 10

// SecretReader returns what a reference such as vault://secret/data/app#password
// points to. Its error must not hold the secret.
type SecretReader func(reference *url.URL) (string, error)

// dereference returns the secret that raw refers to, and raw itself when it is
// no reference. Only keys that hold secrets may refer: file:///path is the
// content of a file without the newline at its end, as Kubernetes and the agent
// of Vault write it; other schemes are Options.Secrets.
func (l *loader) dereference(k key, raw any) (any, error) {
	text, isText := raw.(string)
	scheme, _, isURL := strings.Cut(text, "://")
	read, known := l.secrets[scheme]
	if scheme == "file" {
		read, known = readSecretFile, true
	}
	if !isText || !isURL || !known || k.secret == "" {
		return raw, nil
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("the reference is not a URL")
	}
	secret, err := read(u)
	switch {
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", u.Redacted(), err)
	case secret == "":
		return nil, fmt.Errorf("%s is empty", u.Redacted())
	}
	return secret, nil
}

func readSecretFile(u *url.URL) (string, error) {
	if u.Host != "" || u.RawQuery != "" || u.Fragment != "" {
		return "", errors.New("the form is file:///path")
	}
	f, err := os.Open(u.Path)
	if err != nil {
		return "", withoutPath(err)
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", withoutPath(err)
	}
	if len(text) > maxSecret {
		return "", fmt.Errorf("the file is longer than %d bytes", maxSecret)
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}

// withoutPath is the cause of an error about a file that the message names.
func withoutPath(err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
