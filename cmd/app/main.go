// Command app serves every module of Cleave in one process.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"cleave/cmd/app/demo"
	"cleave/modules/notification"
	"cleave/modules/order"
	"cleave/modules/user"
	"cleave/platform/cli"
	"cleave/platform/module"
)

// version is set when a release is built (-ldflags "-X main.version=1.2.3").
var version = "dev"

var modules = []module.Spec{user.Module, order.Module, notification.Module}

func main() {
	if code, ok := cli.Work(os.Args, modules); ok {
		os.Exit(code)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// After the first signal the default handling is back: a second one ends the process at once.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:]))
}

// run is main without the process; it returns the exit code.
func run(ctx context.Context, args []string) int {
	return cli.Main(ctx, args, faults(cli.IO{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Env: os.Environ(), Workers: true}), version, modules, demo.Command)
}
