package eventtest

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"cleave/platform/nettest"
)

// brokerVariable tells a test binary to be a broker: kind, folder and port.
const brokerVariable = "CLEAVE_EVENTTEST_BROKER"

// Main becomes a broker when this process was started as one, and otherwise
// returns. TestMain of a package that calls NATS or Kafka calls it first.
func Main() {
	parts := strings.Split(os.Getenv(brokerVariable), "|")
	if len(parts) != 3 {
		return
	}
	serve := map[string]func(folder, port string) (stop func(), err error){"nats": serveNATS, "kafka": serveKafka}[parts[0]]
	stop, err := serve(parts[1], parts[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin) // ends with the test, however that ends
	stop()
	os.Exit(0)
}

// Server is a broker in a process of its own.
type Server struct {
	URL     string
	start   func(t testing.TB) *exec.Cmd
	command *exec.Cmd
}

// serve starts this test binary as a broker, and stops it at the end of the
// test.
func serve(t testing.TB, kind string) *Server {
	t.Helper()
	folder, port := t.TempDir(), nettest.FreePort(t)
	s := &Server{URL: fmt.Sprintf("%s://127.0.0.1:%d", kind, port)}
	s.start = func(t testing.TB) *exec.Cmd {
		t.Helper()
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), fmt.Sprintf("%s=%s|%s|%d", brokerVariable, kind, folder, port))
		c.Stderr = os.Stderr
		_, err := c.StdinPipe()
		require.NoError(t, err)
		out, err := c.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, c.Start())
		line, err := bufio.NewReader(out).ReadString('\n')
		require.NoError(t, err, "is eventtest.Main called in TestMain?")
		require.Equal(t, "ready\n", line)
		return c
	}
	s.Start(t)
	t.Cleanup(s.Kill)
	return s
}

// Own reports whether the test started the server, and so may kill it.
func (s *Server) Own() bool { return s.start != nil }

// Start starts the server again after Kill.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	s.command = s.start(t)
}

// Kill ends the server at once, as kill -9 does.
func (s *Server) Kill() {
	if s.command == nil {
		return
	}
	_ = s.kill()
	_ = s.command.Wait()
	s.command = nil
}

// kill ends all processes of the server: RabbitMQ's is a script with children.
func (s *Server) kill() error {
	if a := s.command.SysProcAttr; a != nil && a.Setpgid {
		return syscall.Kill(-s.command.Process.Pid, syscall.SIGKILL)
	}
	return s.command.Process.Kill()
}

// Restart kills the server and starts it again.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.Kill()
	s.Start(t)
}
