package eventtest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cleave/platform/nettest"
)

// RabbitMaxBytes is the largest message that the server of RabbitMQ takes.
const RabbitMaxBytes = 1 << 20

// rabbitVariable may name a running RabbitMQ.
const rabbitVariable = "CLEAVE_TEST_RABBITMQ"

// RabbitMQ starts the server of Debian's package rabbitmq-server on ports and
// folders of its own, or uses the one that CLEAVE_TEST_RABBITMQ names. Without
// either the test is skipped with the reason, and under CI=true it fails.
func RabbitMQ(t testing.TB) *Server {
	t.Helper()
	if url := os.Getenv(rabbitVariable); url != "" {
		return &Server{URL: url}
	}
	program, err := rabbitProgram()
	if err != nil {
		if os.Getenv("CI") == "true" {
			require.NoError(t, err)
		}
		t.Skip("not tested on RabbitMQ: ", err)
	}
	folder, err := os.MkdirTemp("", "cleave-rabbit-*") // t.TempDir is too long for the names of sockets
	require.NoError(t, err)
	port, distribution, mapper := nettest.FreePort(t), nettest.FreePort(t), nettest.FreePort(t)
	config := fmt.Sprintf("listeners.tcp.1 = 127.0.0.1:%d\nmax_message_size = %d\nlog.file = false\nlog.console = true\nlog.console.level = warning\nvm_memory_high_watermark.absolute = 1GB\ndisk_free_limit.absolute = 1MB\n", port, RabbitMaxBytes)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "rabbitmq.conf"), []byte(config), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "enabled_plugins"), []byte("[]."), 0o600))
	environment := append(os.Environ(), "HOME="+folder, fmt.Sprint("ERL_EPMD_PORT=", mapper), "ERL_EPMD_ADDRESS=127.0.0.1",
		fmt.Sprintf("RABBITMQ_NODENAME=cleave%d@localhost", port), fmt.Sprint("RABBITMQ_DIST_PORT=", distribution),
		"RABBITMQ_CONFIG_FILE="+filepath.Join(folder, "rabbitmq.conf"), "RABBITMQ_ENABLED_PLUGINS_FILE="+filepath.Join(folder, "enabled_plugins"),
		"RABBITMQ_CONF_ENV_FILE=/dev/null", "RABBITMQ_MNESIA_BASE="+folder, "RABBITMQ_LOG_BASE="+folder, "RABBITMQ_PID_FILE="+filepath.Join(folder, "pid"),
	)
	epmd := exec.Command("epmd", "-port", fmt.Sprint(mapper), "-address", "127.0.0.1") // Erlang would leave its own running
	epmd.Env = environment
	require.NoError(t, epmd.Start())
	address, log := fmt.Sprint("127.0.0.1:", port), filepath.Join(folder, "output")
	listens := func() bool {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}
	s := &Server{URL: "amqp://" + address}
	s.start = func(t testing.TB) *exec.Cmd {
		t.Helper()
		// What Kill has waited for is the script: the server behind it may need longer to die. Taken for the new one, it would
		// look ready at once; the new one would find its name and ports taken, and end.
		require.Eventually(t, func() bool { return !listens() }, 90*time.Second, 10*time.Millisecond, "somebody else listens at %s", address)
		out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		require.NoError(t, err)
		defer out.Close()
		c := exec.Command(program)
		c.Env, c.Stdout, c.Stderr, c.SysProcAttr = environment, out, out, &syscall.SysProcAttr{Setpgid: true}
		require.NoError(t, c.Start())
		for end := time.Now().Add(90 * time.Second); !listens(); time.Sleep(50 * time.Millisecond) {
			if time.Now().After(end) {
				_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
				require.FailNow(t, "RabbitMQ does not start")
			}
		}
		return c
	}
	t.Cleanup(func() {
		s.Kill()
		if t.Failed() {
			said, _ := os.ReadFile(log)
			t.Logf("RabbitMQ said:\n%s", said)
		}
		_ = epmd.Process.Kill()
		_ = epmd.Wait()
		require.NoError(t, os.RemoveAll(folder))
	})
	s.Start(t)
	return s
}

func rabbitProgram() (string, error) {
	for _, pattern := range []string{"/usr/lib/rabbitmq/bin/rabbitmq-server", "/opt/homebrew/sbin/rabbitmq-server", "/usr/local/sbin/rabbitmq-server"} {
		if _, err := os.Stat(pattern); err == nil {
			return pattern, nil
		}
	}
	return "", errors.New("there is no rabbitmq-server: install the package of that name (its service need not run), or set " + rabbitVariable)
}
