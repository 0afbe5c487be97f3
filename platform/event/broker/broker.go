// Package broker opens the event pipe that a configuration names.
package broker

import (
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"cleave/platform/event"
	"cleave/platform/event/jetstream"
)

// InProcess names the pipe within one process.
const InProcess = "inproc"

// Config says which pipe to open.
type Config struct {
	URL       string        // InProcess or a broker's address
	Retention time.Duration // how long a broker keeps events
	Log       *slog.Logger
}

// Open returns the pipe. An address that means nothing, refused credentials
// and a certificate that is not trusted are errors; a broker that cannot be
// reached is none, the pipe then keeps trying. Errors do not contain secrets.
func Open(c Config) (event.Pipe, error) {
	if c.URL == InProcess {
		return event.NewInProcess(), nil
	}
	a, err := parse(c.URL)
	if err != nil {
		return nil, err
	}
	switch a.scheme {
	case "nats", "nats+tls":
		return openNATS(c, a)
	default:
		return nil, fmt.Errorf("no pipe is named %s://", a.scheme)
	}
}

func openNATS(c Config, a address) (event.Pipe, error) {
	o := jetstream.Options{Retention: c.Retention, Log: c.Log}
	var err error
	if o.Prefix, err = a.prefix(); err != nil {
		return nil, err
	}
	if o.Replicas, err = a.number("replicas", 1, 1, 5); err != nil {
		return nil, err
	}
	if file := a.param("creds", ""); file != "" {
		o.Connect = append(o.Connect, nats.UserCredentials(file))
	}
	if a.scheme == "nats+tls" {
		t, err := a.tls()
		if err != nil {
			return nil, err
		}
		o.Connect = append(o.Connect, nats.Secure(t))
	}
	switch {
	case a.user != "" && a.password == "":
		o.Connect = append(o.Connect, nats.Token(a.user))
	case a.user != "":
		o.Connect = append(o.Connect, nats.UserInfo(a.user, a.password))
	}
	if err := a.rest(); err != nil {
		return nil, err
	}
	o.URL = "nats://" + strings.Join(a.hosts, ",nats://")
	return jetstream.Open(o)
}
