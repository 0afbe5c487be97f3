package eventtest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/require"
)

// natsVariable tells a test binary to be a NATS server: folder and port.
const natsVariable = "CLEAVE_EVENTTEST_NATS"

// Main becomes a broker when this process was started by NATS, and otherwise
// returns. TestMain of a package that calls NATS calls it first.
func Main() {
	folder, port, ok := strings.Cut(os.Getenv(natsVariable), "|")
	if !ok {
		return
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	s, err := server.NewServer(&server.Options{
		ServerName: "test", Host: "127.0.0.1", Port: n, JetStream: true, StoreDir: folder, SyncAlways: true, NoSigs: true, MaxPayload: NATSMaxBytes + 4096,
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	s.Start()
	if !s.ReadyForConnections(20 * time.Second) {
		fmt.Fprintln(os.Stderr, "the NATS server does not get ready")
		os.Exit(2)
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin) // ends with the test, however that ends
	s.Shutdown()
	os.Exit(0)
}

// NATSMaxBytes is about the largest payload that NATS takes, in bytes; headers
// come on top.
const NATSMaxBytes = 1 << 20

// Server is a broker in a process of its own.
type Server struct {
	URL     string
	start   func(t testing.TB) *exec.Cmd
	command *exec.Cmd
}

// NATS starts a NATS server with JetStream that syncs every write, and stops it
// at the end of the test.
func NATS(t testing.TB) *Server {
	t.Helper()
	folder, port := t.TempDir(), freePort(t)
	s := &Server{URL: fmt.Sprintf("nats://127.0.0.1:%d", port)}
	s.start = func(t testing.TB) *exec.Cmd {
		t.Helper()
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), fmt.Sprintf("%s=%s|%d", natsVariable, folder, port))
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
	_ = s.command.Process.Kill()
	_ = s.command.Wait()
	s.command = nil
}

// Restart kills the server and starts it again.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.Kill()
	s.Start(t)
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
