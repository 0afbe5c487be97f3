//go:build faults

package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"cleave/platform/cli"
	"cleave/platform/faulttest"
	"cleave/platform/module"
)

// faults lets CLEAVE_FAULTS decide what fails, such as
// seed=7,rate=0.05,crash=0.002. Only a program that is built with the tag
// faults has it.
func faults(stdio cli.IO) cli.IO {
	const variable = "CLEAVE_FAULTS="
	stdio.Env = slices.DeleteFunc(stdio.Env, func(e string) bool {
		text, found := strings.CutPrefix(e, variable)
		if !found {
			return false
		}
		o, err := faulttest.Parse(text)
		if err != nil {
			fmt.Fprintln(stdio.Err, "app: CLEAVE_FAULTS:", err)
			os.Exit(cli.Usage)
		}
		stdio.Host = func(options *module.Options) { options.Faults = faulttest.New(o).Faults() }
		return true
	})
	return stdio
}
