package module

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// releaseText lets the kernel take back the pages of the program's code that
// are mapped: starting runs through nearly all of it once, and serving needs a
// quarter. What is called again is mapped again from the page cache. It is for
// the memory that the process is seen to use; failing costs nothing else.
func releaseText() {
	program, err := os.Executable()
	if err != nil {
		return
	}
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return
	}
	defer func() { _ = maps.Close() }()
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		start, end, ok := textRange(lines.Text(), program)
		if ok {
			_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, start, end-start, syscall.MADV_DONTNEED)
		}
	}
}

// textRange reads a line of proc_pid_maps(5). Only a mapping that nobody can
// have written to qualifies: the pages of any other are not the file's alone.
func textRange(line, program string) (start, end uintptr, ok bool) {
	var perms string
	if _, err := fmt.Sscanf(line, "%x-%x %s", &start, &end, &perms); err != nil {
		return 0, 0, false
	}
	return start, end, perms == "r-xp" && strings.HasSuffix(line, " "+program)
}
