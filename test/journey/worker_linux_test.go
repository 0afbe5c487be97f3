package journey_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	userrest "cleave/modules/user/v1/rest"
)

// hashing returns the process that hashes for a server, 0 when there is none, and its niceness.
func hashing(t testing.TB, parent int) (pid, niceness int) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/stat")
	require.NoError(t, err)
	for _, path := range all {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		// proc_pid_stat(5): the number, the name in parentheses, the state, the parent, and the niceness as the 19th.
		_, rest, _ := strings.Cut(string(text), ") ")
		fields := strings.Fields(rest)
		if fields[1] != fmt.Sprint(parent) || fields[0] == "Z" {
			continue
		}
		name, err := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
		if err != nil || string(name) != "cleave-worker\x00user\x00" {
			continue
		}
		_, err = fmt.Sscan(string(text), &pid)
		require.NoError(t, err)
		_, err = fmt.Sscan(fields[16], &niceness)
		require.NoError(t, err)
		return pid, niceness
	}
	return 0, 0
}

// runs reports whether a process has not ended, in a machine whose first process may leave those without a parent as they are.
func runs(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(text), ") Z ")
}

// TestHashProcess has passwords hashed beside the server, whatever happens to the process that does it.
func TestHashProcess(t *testing.T) {
	t.Parallel()
	s := sqliteSite(t)
	before := s.serve(t)
	pid, _ := hashing(t, before.PID())
	require.Zero(t, pid, "it is started with the first hash")
	before.stop(t)

	w := newWorld(t, sqliteSite(t))
	pid, niceness := hashing(t, w.server.PID())
	require.NotZero(t, pid)
	own, err := syscall.Getpriority(syscall.PRIO_PROCESS, w.server.PID())
	require.NoError(t, err)
	require.Equal(t, min(20-own+10, 19), niceness)

	var people sync.WaitGroup
	for range 4 {
		people.Go(func() {
			for range 10 {
				c := newCaller(t, w.server.url)
				r, err := c.users.LogInWithResponse(t.Context(), nil, userrest.LogIn{Email: "root@example.com", Password: password})
				if err != nil || r.StatusCode() != 201 {
					t.Errorf("log in: %v %v", r, err)
				}
			}
		})
	}
	killed := 0
	for range 8 {
		w.admin.logIn(t, "root@example.com") // one that is killed before it has answered has no successor for some seconds
		if pid, _ := hashing(t, w.server.PID()); pid != 0 && syscall.Kill(pid, syscall.SIGKILL) == nil {
			killed++
			require.Eventually(t, func() bool { return !runs(pid) }, patience, time.Millisecond)
		}
	}
	people.Wait()
	require.Positive(t, killed)

	w.server.stop(t)
	w.restarted(t)
	for _, end := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		w.admin.logIn(t, "root@example.com")
		pid, _ := hashing(t, w.server.PID())
		require.NotZero(t, pid)
		w.server.signal(t, end)
		require.Eventually(t, func() bool { return !runs(pid) }, patience, time.Millisecond, "the server got %s", end)
		w.restarted(t)
	}
}

// TestHashProcess_Off is a server that hashes by itself.
func TestHashProcess_Off(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqliteSite(t, "CLEAVE_MODULES_USER_HASH_PROCESS=false"))
	pid, _ := hashing(t, w.server.PID())
	require.Zero(t, pid)
}
