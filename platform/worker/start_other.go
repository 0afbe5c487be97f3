//go:build !linux

package worker

import (
	"errors"
	"os/exec"
)

func startLow(*exec.Cmd) error { return errors.ErrUnsupported }
