//go:build !natsserver

package jetstream

import (
	"errors"

	"github.com/nats-io/nats.go"
)

// startServer fails: the server is 12 MB that most programs never run.
func startServer(string, string) (connect nats.Option, stop func(), err error) {
	return nil, nil, errors.New("this program has no NATS server in it: build it with -tags natsserver, or name the host of one")
}
