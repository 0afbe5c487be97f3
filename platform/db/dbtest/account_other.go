//go:build !unix

package dbtest

import (
	"errors"
	"os/exec"
)

// account runs the server's programs; here, none does.
type account struct{}

func serverUser() (account, error) {
	return account{}, errors.New("these tests start Postgres on Unix only: set CLEAVE_TEST_POSTGRES=postgres://admin:password@host:5432/postgres")
}

func (account) folder(bool) (string, error)         { return "", errors.ErrUnsupported }
func (account) writeFile(string, string) error      { return errors.ErrUnsupported }
func (account) command(string, ...string) *exec.Cmd { return nil }
func (account) own(string) error                    { return errors.ErrUnsupported }
func ownGroup(*exec.Cmd)                            {}
