// Command cleave is the developer's tool of this repository: go tool cleave.
//
// It also serves go vet -vettool, with the rules that look at one package at a
// time.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/tools/go/analysis/unitchecker"

	"cleave/cmd/cleave/changed"
	"cleave/cmd/cleave/contract"
	"cleave/cmd/cleave/devcerts"
	"cleave/cmd/cleave/docs"
	"cleave/cmd/cleave/lint"
	"cleave/cmd/cleave/openapi"
	"cleave/platform/arch"
)

func main() {
	if isVet(os.Args[1:]) {
		unitchecker.Main(arch.Analyzers()...)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	context.AfterFunc(ctx, stop)
	err := command().ExecuteContext(ctx)
	var found *lint.FoundError
	switch {
	case err == nil:
	case errors.As(err, &found), errors.Is(err, contract.ErrBroken):
		os.Exit(1)
	default:
		fmt.Fprintln(os.Stderr, "cleave:", err)
		os.Exit(2)
	}
}

// isVet reports whether go vet runs the tool: it asks for its version and
// flags, and names a file for each package.
func isVet(args []string) bool {
	return len(args) > 0 && (strings.HasPrefix(args[0], "-V=") || args[0] == "-flags" || strings.HasSuffix(args[len(args)-1], ".cfg"))
}

func command() *cobra.Command {
	c := &cobra.Command{Use: "cleave", Short: "The developer's tool: what keeps the modules apart", SilenceUsage: true, SilenceErrors: true}
	c.AddCommand(lint.Command(), contract.Command(), contract.ReleaseCommand(), changed.Command(), devcerts.Command(), docs.Command(), openapi.Command())
	return c
}
