//go:build linux

package worker

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// about answers "who" with the process and its priority, fails "fail", and is still about "stand" when the test is over.
func about(request []byte) ([]byte, error) {
	switch string(request) {
	case "who":
		niceness, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0)
		return []byte(strconv.Itoa(os.Getpid()) + " " + strconv.Itoa(20-niceness)), err
	case "fail":
		return nil, errors.New("no such thing")
	case "stand":
		select {}
	}
	return bytes.ToUpper(request), nil
}

func TestMain(m *testing.M) {
	if code, ok := Main(os.Args, map[string]Func{"about": about}); ok {
		os.Exit(code)
	}
	goleak.VerifyTestMain(m)
}

// lines is what was logged.
type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), "\n")
}

// setup returns a worker that runs until the test is over. Adjust may change it before.
func setup(t *testing.T, adjust func(*Worker)) (*Worker, *lines) {
	t.Helper()
	log := &lines{}
	w := New("about", about, slog.New(slog.NewTextHandler(log, nil)))
	if adjust != nil {
		adjust(w)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = w.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return w, log
}

// who returns the process that answers, and its niceness.
func who(t *testing.T, w *Worker) (pid, niceness int) {
	t.Helper()
	a, err := w.Do([]byte("who"))
	require.NoError(t, err)
	first, second, _ := strings.Cut(string(a), " ")
	pid, err = strconv.Atoi(first)
	require.NoError(t, err)
	niceness, err = strconv.Atoi(second)
	require.NoError(t, err)
	return pid, niceness
}

func gone(pid int) bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

func TestDo(t *testing.T) {
	t.Parallel()
	w, log := setup(t, nil)
	pid, niceness := who(t, w)
	require.NotEqual(t, os.Getpid(), pid)
	own, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0)
	require.NoError(t, err)
	require.Equal(t, min(20-own+lower, 19), niceness)
	environment, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	require.NoError(t, err)
	require.Equal(t, "GOGC=10\x00", string(environment), "settings hold secrets")

	var all sync.WaitGroup
	for n := range 100 {
		all.Go(func() {
			text := strings.Repeat("x", n)
			a, err := w.Do([]byte(text))
			if err != nil || string(a) != strings.ToUpper(text) {
				t.Errorf("%q: %q, %v", text, a, err)
			}
		})
	}
	all.Wait()
	_, err = w.Do([]byte("fail"))
	require.EqualError(t, err, "no such thing")
	_, err = w.Do(make([]byte, maxRequest))
	require.NoError(t, err)
	_, err = w.Do(make([]byte, maxRequest+1))
	require.ErrorContains(t, err, "longer than 65536")
	again, _ := who(t, w)
	require.Equal(t, pid, again, "one process answers all")
	require.Zero(t, log.count())
}

func TestProcessEnds(t *testing.T) {
	t.Parallel()
	t.Run("Killed", func(t *testing.T) {
		t.Parallel()
		w, log := setup(t, nil)
		for range 3 {
			pid, _ := who(t, w)
			require.NotEqual(t, os.Getpid(), pid)
			require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
			after, _ := who(t, w)
			require.NotContains(t, []int{pid, os.Getpid()}, after, "another one answers")
			require.Eventually(t, func() bool { return gone(pid) }, time.Minute, time.Millisecond, "and nobody's zombie")
		}
		require.Positive(t, log.count())
	})
	t.Run("Signalled", func(t *testing.T) {
		t.Parallel()
		w, _ := setup(t, nil)
		pid, _ := who(t, w)
		for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
			require.NoError(t, syscall.Kill(pid, s))
			require.NoError(t, syscall.Kill(pid, s))
		}
		after, _ := who(t, w)
		require.Equal(t, pid, after, "what a terminal sends to all is for the main process")
	})
	t.Run("Idle", func(t *testing.T) {
		t.Parallel()
		w, log := setup(t, func(w *Worker) { w.idle = time.Millisecond })
		pid, _ := who(t, w)
		require.Eventually(t, func() bool { return gone(pid) }, time.Minute, time.Millisecond)
		for range 20 {
			next, _ := who(t, w)
			require.NotEqual(t, os.Getpid(), next)
		}
		require.Zero(t, log.count())
	})
	t.Run("Stopped", func(t *testing.T) {
		t.Parallel()
		w := New("about", about, slog.New(slog.DiscardHandler))
		pid, _ := who(t, w)
		go func() { _, _ = w.running().ask([]byte("stand")) }()
		require.Eventually(t, func() bool { return !w.process.free() }, time.Minute, time.Millisecond)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		require.NoError(t, w.Run(ended))
		require.True(t, gone(pid), "whatever it was about")
		here, _ := who(t, w)
		require.Equal(t, os.Getpid(), here)
	})
}

func TestNoProcess(t *testing.T) {
	t.Parallel()
	for name, program := range map[string]string{"Missing": "/nonexistent", "AnotherProgram": "/bin/true"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, log := setup(t, func(w *Worker) { w.program = program })
			for range 3 {
				pid, _ := who(t, w)
				require.Equal(t, os.Getpid(), pid)
			}
			require.Equal(t, 1, log.count())
		})
	}
}

// TestServe feeds the process what no Worker sends.
func TestServe(t *testing.T) {
	t.Parallel()
	for name, input := range map[string]string{
		"CutHeader":  "\x00\x00",
		"CutPayload": "\x00\x00\x00\x05\x00\x00\x00\x01ab",
		"Huge":       "\xff\xff\xff\xff\x00\x00\x00\x01",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Error(t, serve(strings.NewReader(input), &lines{}, about))
		})
	}
	require.NoError(t, serve(strings.NewReader(""), &lines{}, about))

	for _, payload := range []string{"", "\x02", "\x03abc"} {
		_, err := parseAnswer([]byte(payload))
		require.Error(t, err, "%q", payload)
	}
}

func TestMain_NotAsked(t *testing.T) {
	t.Parallel()
	funcs := map[string]Func{"about": about, "none": nil}
	for _, args := range [][]string{nil, {"app"}, {"app", "about"}, {calledAs}, {calledAs, "none"}, {calledAs, "other"}, {calledAs, "about", "more"}} {
		_, ok := Main(args, funcs)
		require.False(t, ok, args)
	}
}
