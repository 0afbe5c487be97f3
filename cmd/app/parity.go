//go:build parity

package main

import (
	"slices"
	"strings"

	"cleave/platform/cli"
	"cleave/platform/module"
	"cleave/platform/paritytest"
)

// faults plants the defect that CLEAVE_PARITY names. Only a program that is
// built with the tag parity has it.
func faults(stdio cli.IO) cli.IO {
	stdio.Env = slices.DeleteFunc(stdio.Env, func(e string) bool {
		name, found := strings.CutPrefix(e, "CLEAVE_PARITY=")
		if found {
			stdio.Host = func(o *module.Options) { o.Faults = paritytest.Faults(name) }
		}
		return found
	})
	return stdio
}
