package mail

import (
	"context"
	"errors"
	"fmt"
	"io"
	netmail "net/mail"
	"os"
	"path/filepath"

	"cleave/modules/notification/internal/domain"
	"cleave/platform/fault"
)

// Folder writes each mail as an .eml file, for machines without an SMTP server.
type Folder struct {
	dir  string
	from *netmail.Address
}

// NewFolder returns a folder that is made with the first mail.
func NewFolder(dir string, from *netmail.Address) *Folder { return &Folder{dir: dir, from: from} }

// Send returns once the file is on disk under its name, which begins with the
// time of the mail and its kind. Sending a mail again replaces its file, so
// there is one file for each mail. The fault is Unprocessable for a mail that
// cannot be sent, else Unavailable.
func (f *Folder) Send(_ context.Context, m domain.Mail) error {
	msg, err := message(f.from, m)
	if err != nil {
		return err
	}
	if err := f.write(fileName(m), msg); err != nil {
		return fault.New(fault.Unavailable, "mail_folder_unwritable", "the mail folder cannot be written").Wrap(err)
	}
	return nil
}

// Idle does nothing: a folder keeps nothing open.
func (f *Folder) Idle() {}

func fileName(m domain.Mail) string {
	return fmt.Sprintf("%s-%s-%s.eml", m.CreatedAt.UTC().Format("20060102T150405Z"), m.Kind, m.ID)
}

// write puts the content under its name in one step: no reader sees half a mail.
func (f *Folder) write(name string, content io.WriterTo) (err error) {
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return err
	}
	partial := filepath.Join(f.dir, "."+name+".partial")
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(partial))
		}
	}()
	file, err := os.OpenFile(partial, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = content.WriteTo(file)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Rename(partial, filepath.Join(f.dir, name)); err != nil {
		return err
	}
	return syncDir(f.dir)
}

// syncDir makes a rename survive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
