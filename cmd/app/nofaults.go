//go:build !faults && !parity

package main

import "cleave/platform/cli"

// faults does nothing: only a program that is built with the tag faults can be
// made to fail.
func faults(stdio cli.IO) cli.IO { return stdio }
