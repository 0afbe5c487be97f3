//go:build unix

package dbtest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// account runs the server's programs. They refuse to run as root, so root's
// tests use an unprivileged user.
type account struct {
	credential *syscall.Credential // nil: the user of the test
}

func serverUser() (account, error) {
	if os.Getuid() != 0 {
		return account{}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
		if uidErr == nil && gidErr == nil && uid != 0 {
			return account{&syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
		}
	}
	return account{}, fmt.Errorf("Postgres does not run as root, and there is no user postgres or nobody: run the tests as another user")
}

// folder is a new folder that the account owns and can reach; root's TMPDIR
// often lies in a folder that only root may enter.
func (a account) folder(durable bool) (dir string, err error) {
	bases := []string{os.TempDir(), "/tmp", "/var/tmp"}
	if memory := memoryFolder(); memory != "" && !durable {
		bases = append([]string{memory}, bases...)
	}
	for _, base := range bases {
		if a.credential != nil && !everyoneEnters(base) {
			continue
		}
		if dir, err = os.MkdirTemp(base, "cleave-postgres-"); err != nil {
			continue
		}
		return dir, a.own(dir)
	}
	return "", fmt.Errorf("no temporary folder for Postgres (set TMPDIR): %w", err)
}

func everyoneEnters(dir string) bool {
	for {
		info, err := os.Stat(dir)
		if err != nil || info.Mode()&0o001 == 0 {
			return false
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return true
		}
		dir = parent
	}
}

func (a account) writeFile(path, text string) error {
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return err
	}
	return a.own(path)
}

// own gives the account what lies below dir, so that the watchdog can remove it.
func (a account) own(dir string) error {
	if a.credential == nil {
		return nil
	}
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, int(a.credential.Uid), int(a.credential.Gid)))
	})
}

func (a account) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: a.credential}
	return cmd
}

// ownGroup keeps the terminal's signals away from the server, so that it goes
// on until the tests have cleaned up.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr.Setsid = true }
