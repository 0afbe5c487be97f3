//go:build !unix

package db

import "os"

// lockFile does nothing where there is no flock: two processes on one folder are not found out.
func lockFile(*os.File) error { return nil }
