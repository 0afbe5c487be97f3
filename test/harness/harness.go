// Package harness builds and runs the program itself, for tests that drive it
// from outside: through its API, its commands, its signals and its end.
package harness

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
)

// Build makes the program as a release does, but for the version, and returns
// its path below dir. tags are build tags.
func Build(dir string, tags ...string) (string, error) {
	binary := filepath.Join(dir, strings.Join(append([]string{"app"}, tags...), "-"))
	build := exec.Command("go", "build", "-trimpath", "-tags", strings.Join(tags, ","), "-o", binary, "cleave/cmd/app")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the program: %w\n%s", err, out)
	}
	return binary, nil
}

// Command is the program with the given settings, such as
// CLEAVE_SAGAS_LEASE=1s, and none of this process's.
func Command(binary string, settings []string, args ...string) *exec.Cmd {
	cmd := exec.Command(binary, args...)
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "CLEAVE_") {
			cmd.Env = append(cmd.Env, e)
		}
	}
	// All of a test's users share one address, and are faster than people.
	cmd.Env = append(append(cmd.Env, "CLEAVE_LIMITS_ENABLED=false"), settings...)
	return cmd
}

// Process is the program, running.
type Process struct {
	cmd    *exec.Cmd
	ready  chan struct{}
	exited chan struct{}

	mu  sync.Mutex
	log []string
}

var (
	apiLine   = regexp.MustCompile(`(?m)^  API +(https?://\S+)/api/v1$`)
	tokenLine = regexp.MustCompile(`(?m)^  first admin token +(\S+)$`)
)

// Start starts a command that serves. It does not wait for readiness.
func Start(cmd *exec.Cmd) (*Process, error) {
	p := &Process{cmd: cmd, ready: make(chan struct{}), exited: make(chan struct{})}
	errs, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go p.follow(errs)
	return p, nil
}

// follow collects standard error until the process ends. The start-up block
// ends with the line about health.
func (p *Process) follow(errs io.Reader) {
	const longest = 1 << 20
	lines := bufio.NewScanner(errs)
	lines.Buffer(nil, longest)
	for lines.Scan() {
		p.mu.Lock()
		p.log = append(p.log, lines.Text())
		p.mu.Unlock()
		if strings.HasPrefix(lines.Text(), "  health ") {
			close(p.ready)
		}
	}
	_ = p.cmd.Wait() // the code says it all
	close(p.exited)
}

// Ready waits until the program serves, and returns where and the token for
// the first administrator, "" when there is one. It fails when the process
// ends before, or ctx does.
func (p *Process) Ready(ctx context.Context) (url, token string, err error) {
	select {
	case <-p.ready:
	case <-p.exited:
		return "", "", fmt.Errorf("the program ended before it was ready, code %d:\n%s", p.Code(), p.Log())
	case <-ctx.Done():
		return "", "", fmt.Errorf("the program is not ready: %w\n%s", ctx.Err(), p.Log())
	}
	block := p.Log()
	if found := tokenLine.FindStringSubmatch(block); found != nil {
		token = found[1]
	}
	found := apiLine.FindStringSubmatch(block)
	if found == nil {
		return "", "", fmt.Errorf("the program does not say where it serves:\n%s", block)
	}
	return found[1], token, nil
}

// Lines is what the process has written to standard error.
func (p *Process) Lines() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log
}

// Log is Lines as one text.
func (p *Process) Log() string { return strings.Join(p.Lines(), "\n") }

// PID is the number of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Signal sends s; it fails when the process has ended.
func (p *Process) Signal(s syscall.Signal) error { return p.cmd.Process.Signal(s) }

// Exited is closed when the process has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Code is the exit code of a process that has ended; -1 means that a signal
// ended it.
func (p *Process) Code() int { return p.cmd.ProcessState.ExitCode() }
