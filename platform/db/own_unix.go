//go:build unix

package db

import (
	"errors"
	"os"
	"syscall"
)

// lockFile takes the lock of a file, which the operating system releases with the file or the process.
func lockFile(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) // #nosec G115 -- a descriptor is small
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return errOwned
	}
	return err
}
