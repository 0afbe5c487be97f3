package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// machine says where the figures come from.
func machine() string {
	model := runtime.GOARCH
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(info)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	return fmt.Sprintf("%d cores, %s, %s, %s", runtime.NumCPU(), model, runtime.GOOS, runtime.Version())
}

// load is the system's load average over the last minute, or "unknown".
func load() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(b), " ")
	return first
}

// ticks per second in /proc/PID/stat: USER_HZ, which is 100 wherever Go runs.
const ticks = 100

// cpu is the processor time that a process has used so far; 0 where there is no
// /proc.
func cpu(pid int) time.Duration { return used(stat(pid), 11, 12) }

// cpuOfFamily is that of a process and its children, ended ones included.
func cpuOfFamily(parent int) time.Duration {
	total := used(stat(parent), 11, 12, 13, 14)
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, path := range all {
		pid, _ := strconv.Atoi(filepath.Base(path))
		if fields := stat(pid); fields != nil && fields[1] == strconv.Itoa(parent) {
			total += used(fields, 11, 12)
		}
	}
	return total
}

func used(fields []string, at ...int) (total time.Duration) {
	if fields == nil {
		return 0
	}
	for _, i := range at {
		n, _ := strconv.ParseInt(fields[i], 10, 64)
		total += time.Duration(n) * (time.Second / ticks)
	}
	return total
}

// stat is /proc/PID/stat after the command's name, from the state on; nil when
// there is no such process.
func stat(pid int) []string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 15 {
		return nil
	}
	return fields
}

// rss is the resident memory of a process in bytes; 0 where there is no /proc.
func rss(pid int) int64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, _ := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
			return kib << 10
		}
	}
	return 0
}
