//go:build natsserver

package jetstream

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// startServer runs a NATS server in this process, which stores below folder
// and syncs every write. It listens on an address for other processes; without
// one, for none.
func startServer(folder, listen string) (connect nats.Option, stop func(), err error) {
	o := &server.Options{ServerName: "embedded", JetStream: true, StoreDir: folder, SyncAlways: true, NoSigs: true, DontListen: listen == ""}
	if listen != "" {
		host, port, err := net.SplitHostPort(listen)
		if err == nil {
			o.Host = host
			o.Port, err = strconv.Atoi(port)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("listen: %w", err)
		}
	}
	s, err := server.NewServer(o)
	if err != nil {
		return nil, nil, fmt.Errorf("start the NATS server in %s: %w", folder, err)
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		s.Shutdown()
		return nil, nil, errors.New("the NATS server in this process does not get ready: is the listen address free?")
	}
	return nats.InProcessServer(s), func() { s.Shutdown(); s.WaitForShutdown() }, nil
}
