package worker

import (
	"errors"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// calledAs is the name under which a Worker starts the program: what a shell starts has the name of its file.
const calledAs = "cleave-worker"

// Main serves as the worker that args, which are those of the process with its name, ask for, until standard input ends. It returns the exit
// code, and false when they ask for none. A program whose processes have Workers begins with it.
func Main(args []string, funcs map[string]Func) (code int, ok bool) {
	if len(args) != 2 || args[0] != calledAs || funcs[args[1]] == nil {
		return 0, false
	}
	// A terminal and a service manager send these to all processes of a program. The one that asks still needs answers until it ends.
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	if err := serve(os.Stdin, os.Stdout, funcs[args[1]]); err != nil {
		return 1, true // the other side says that it has ended
	}
	return 0, true
}

// serve answers requests, all at once, until the input ends; it does not wait for those under way, whom nobody waits for then.
func serve(in io.Reader, out io.Writer, f Func) error {
	var writing sync.Mutex
	for {
		id, request, err := readFrame(in)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		go func() {
			value, err := f(request)
			clear(request)
			writing.Lock()
			defer writing.Unlock()
			_ = writeFrame(out, id, answer{value, err}.payload()) // who has gone needs none
		}()
	}
}
