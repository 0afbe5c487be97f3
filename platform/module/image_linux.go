package module

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
)

// releaseImage lets the kernel take back the pages of the program's code and
// read-only data that are mapped: starting runs through nearly all of them once,
// and serving needs a quarter. What is used again is mapped again from the page
// cache. It is for the memory that the process is seen to use; failing costs
// nothing else.
func releaseImage() {
	program, err := os.Executable()
	if err != nil {
		return
	}
	maps, err := os.Open("/proc/self/smaps")
	if err != nil {
		return
	}
	defer func() { _ = maps.Close() }()
	for _, m := range unchanged(maps, program) {
		_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, m.start, m.end-m.start, syscall.MADV_DONTNEED)
	}
}

// mapping is a range of addresses.
type mapping struct{ start, end uintptr }

// unchanged reads smaps, as in proc_pid_smaps(5), and returns the mappings of
// the program all of whose pages are the file's: nobody can write to them now,
// and nobody has, as a loader does that relocates addresses before it takes the
// right to write away. A page that was written to is the process's own, which
// is to say anonymous, and may be in the swap space.
func unchanged(smaps io.Reader, program string) (all []mapping) {
	var m mapping
	candidate := false
	for lines := bufio.NewScanner(smaps); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		switch value = strings.TrimSpace(value); name {
		case "Anonymous:", "Swap:":
			candidate = candidate && value == "0 kB"
		case "VmFlags:": // the last line of a mapping
			if candidate {
				all = append(all, m)
			}
			candidate = false
		default:
			var start, end uintptr
			if _, err := fmt.Sscanf(name, "%x-%x", &start, &end); err == nil {
				perms, _, _ := strings.Cut(value, " ")
				m, candidate = mapping{start, end}, (perms == "r-xp" || perms == "r--p") && strings.HasSuffix(value, " "+program)
			}
		}
	}
	return all
}
