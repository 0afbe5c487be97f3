package eventtest

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// NATSMaxBytes is about the largest payload that NATS takes, in bytes; headers
// come on top.
const NATSMaxBytes = 1 << 20

// NATS starts a NATS server with JetStream that syncs every write.
func NATS(t testing.TB) *Server {
	t.Helper()
	return serve(t, "nats")
}

func serveNATS(folder, port string) (stop func(), err error) {
	n, err := strconv.Atoi(port)
	if err != nil {
		return nil, err
	}
	s, err := server.NewServer(&server.Options{
		ServerName: "test", Host: "127.0.0.1", Port: n, JetStream: true, StoreDir: folder, SyncAlways: true, NoSigs: true, MaxPayload: NATSMaxBytes + 4096,
	})
	if err != nil {
		return nil, err
	}
	s.Start()
	if !s.ReadyForConnections(20 * time.Second) {
		return nil, errors.New("the NATS server does not get ready")
	}
	return s.Shutdown, nil
}
