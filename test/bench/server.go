package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// server is a process of the application, or of this program as `bench serve`.
type server struct {
	cmd   *exec.Cmd
	addr  string
	log   string        // its standard error
	ready time.Duration // from exec to the first 200 of /readyz
	done  chan error
}

// launch starts a program on a free port, with env in the form of CLEAVE_
// variables on top of an environment that has none, and waits until it is
// ready. Its log goes to a file below dir, as it would in production.
func launch(ctx context.Context, dir string, env []string, program string, args ...string) (*server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &server{addr: l.Addr().String(), log: filepath.Join(dir, "log"), done: make(chan error, 1)}
	if err = l.Close(); err != nil {
		return nil, err
	}
	logFile, err := os.Create(s.log)
	if err != nil {
		return nil, err
	}
	defer func() { _ = logFile.Close() }()
	s.cmd = exec.Command(program, args...)
	s.cmd.Stderr = logFile
	s.cmd.Env = append(clean(os.Environ()), append(env, "CLEAVE_LIMITS_ENABLED=false", "CLEAVE_HTTP_ADDR="+s.addr, "CLEAVE_DATA_DIR="+filepath.Join(dir, "data"))...)
	began := time.Now()
	if err = s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { s.done <- s.cmd.Wait() }()
	if err = s.await(ctx); err != nil {
		s.kill()
		text, _ := os.ReadFile(s.log)
		return nil, fmt.Errorf("%s %s: %w\n%s", filepath.Base(program), strings.Join(args, " "), err, text)
	}
	s.ready = time.Since(began)
	return s, nil
}

// clean is an environment without the settings of an application that somebody
// uses on this machine.
func clean(env []string) (out []string) {
	for _, e := range env {
		if !strings.HasPrefix(e, "CLEAVE_") && !strings.HasPrefix(e, "OTEL_") {
			out = append(out, e)
		}
	}
	return out
}

// await asks for readiness each millisecond, for at most half a minute.
func (s *server) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		if s.healthy(ctx) {
			return nil
		}
		select {
		case err := <-s.done:
			s.done <- err
			return fmt.Errorf("it ended: %w", errors.Join(err, errors.New("before it was ready")))
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func (s *server) healthy(ctx context.Context) bool {
	c, err := dial(s.addr, "")
	if err != nil {
		return false
	}
	defer c.close()
	stop := context.AfterFunc(ctx, c.close)
	defer stop()
	status, _, err := c.do(http.MethodGet, "/readyz", "", nil)
	return err == nil && status == http.StatusOK
}

func (s *server) pid() int { return s.cmd.Process.Pid }

// stop ends the process in an orderly way and returns the error it ended with.
func (s *server) stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case err := <-s.done:
		s.done <- err
		return err
	case <-time.After(30 * time.Second):
		s.kill()
		return errors.New("the server did not stop within 30 s")
	}
}

// kill ends the process if it still runs.
func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	err := <-s.done
	s.done <- err
}

// line is what the start-up block says after a label.
func (s *server) line(label string) (string, error) {
	text, err := os.ReadFile(s.log)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), label); ok {
			return strings.TrimSpace(value), nil
		}
	}
	return "", fmt.Errorf("the start-up block has no line %q:\n%s", label, text)
}
