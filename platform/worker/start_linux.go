package worker

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// lower is the niceness of a worker above that of the process which starts it: it gives way at once to who wakes up, and has about a tenth of a
// processor that others want as well, so that its work never stands still.
const lower = 10

// startLow starts a command at a low priority, which all of its threads inherit. A priority belongs to a thread, and cannot be raised
// again: that of a thread is lowered which then ends.
func startLow(cmd *exec.Cmd) error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // for good
		if syscall.Gettid() == os.Getpid() {
			// The first thread would not end, only stand still with the priority by which the process is known.
			defer runtime.UnlockOSThread()
			started <- startLow(cmd)
			return
		}
		// The kernel has 20 - niceness for a result. Without the right to ask, or to be nice, the work is done no less.
		if now, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0); err == nil {
			_ = syscall.Setpriority(syscall.PRIO_PROCESS, 0, 20-now+lower)
		}
		started <- cmd.Start()
	}()
	return <-started
}
