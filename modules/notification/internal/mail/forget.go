package mail

import (
	"errors"
	"io/fs"
	netmail "net/mail"
	"os"
	"path/filepath"
	"strings"
)

// Forget removes the files of all mails to an address, in any letter case.
func (f *Folder) Forget(email string) error {
	names, err := filepath.Glob(filepath.Join(f.dir, "*.eml"))
	if err != nil {
		return err
	}
	for _, name := range names {
		to, err := recipient(name)
		if err == nil && strings.EqualFold(to, email) {
			err = os.Remove(name)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// recipient reads whom a mail is to.
func recipient(name string) (string, error) {
	file, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }() // read only
	m, err := netmail.ReadMessage(file)
	if err != nil {
		return "", err
	}
	to, err := netmail.ParseAddress(m.Header.Get("To"))
	if err != nil {
		return "", err
	}
	return to.Address, nil
}

// Forget does nothing: mails are in other hands.
func (s *SMTP) Forget(string) error { return nil }
