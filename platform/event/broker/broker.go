// Package broker opens the event pipe that a configuration names.
package broker

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"cleave/platform/event"
	"cleave/platform/event/jetstream"
	"cleave/platform/event/rabbit"
)

// InProcess names the pipe within one process.
const InProcess = "inproc"

// embedded is the host of nats://embedded, a server within this process.
const embedded = "embedded"

// Config says which pipe to open.
type Config struct {
	URL       string        // InProcess or a broker's address
	Retention time.Duration // how long a broker keeps events
	Folder    string        // for the data of a broker within this process
	Log       *slog.Logger
	// Kafka opens the pipe for a kafka:// address; nil: the program has no client for it.
	Kafka func(Kafka) (event.Pipe, error)
}

// Kafka is what a kafka:// address says. Its client weighs more than all other ones together, so that only the programs that plug it in have it.
type Kafka struct {
	Brokers    []string // host:port
	TLS        *tls.Config
	Mechanism  string // of SASL: "", PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512
	User       string
	Password   string
	Prefix     string        // of topics and groups
	Partitions int           // of a new topic
	Replicas   int           // of a new topic
	Retention  time.Duration // how long a new topic keeps its events
	Log        *slog.Logger
}

// IsKafka says whether an address of a pipe is Kafka's.
func IsKafka(url string) bool {
	return strings.HasPrefix(url, "kafka://") || strings.HasPrefix(url, "kafka+tls://")
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
	case "kafka", "kafka+tls":
		return openKafka(c, a)
	case "amqp", "amqps":
		return openRabbit(c, a)
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
	if a.hosts[0] == embedded {
		o.Folder, o.Listen = c.Folder, a.param("listen", "")
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
	return opened(jetstream.Open(o))
}

func openKafka(c Config, a address) (event.Pipe, error) {
	if c.Kafka == nil {
		return nil, errors.New("this program has no client for kafka://")
	}
	o := Kafka{Brokers: a.withPort("9092"), User: a.user, Password: a.password, Retention: c.Retention, Log: c.Log}
	var err error
	if o.Prefix, err = a.prefix(); err != nil {
		return nil, err
	}
	if o.Partitions, err = a.number("partitions", 12, 1, 1000); err != nil {
		return nil, err
	}
	if o.Replicas, err = a.number("replicas", 1, 1, 15); err != nil {
		return nil, err
	}
	if a.user != "" {
		switch m := a.param("sasl", "scram-sha-512"); m {
		case "plain", "scram-sha-256", "scram-sha-512":
			o.Mechanism = strings.ToUpper(m)
		default:
			return nil, fmt.Errorf("sasl is %q, allowed: plain, scram-sha-256 or scram-sha-512", m)
		}
	}
	if a.scheme == "kafka+tls" {
		if o.TLS, err = a.tls(); err != nil {
			return nil, err
		}
	}
	if err := a.rest(); err != nil {
		return nil, err
	}
	return c.Kafka(o)
}

func openRabbit(c Config, a address) (event.Pipe, error) {
	o := rabbit.Options{User: a.user, Password: a.password, VHost: a.path, Retention: c.Retention, Log: c.Log}
	if o.VHost == "" {
		o.VHost = "/"
	}
	if o.User == "" { // as every RabbitMQ has it for its own machine
		o.User, o.Password = "guest", "guest"
	}
	var err error
	if o.Prefix, err = a.prefix(); err != nil {
		return nil, err
	}
	switch q := a.param("queues", "classic"); q {
	case "classic", "quorum":
		o.Quorum = q == "quorum"
	default:
		return nil, fmt.Errorf("queues is %q, allowed: classic or quorum", q)
	}
	o.Hosts = a.withPort("5672")
	if a.scheme == "amqps" {
		o.Hosts = a.withPort("5671")
		if o.TLS, err = a.tls(); err != nil {
			return nil, err
		}
	}
	if err := a.rest(); err != nil {
		return nil, err
	}
	return opened(rabbit.Open(o))
}

// opened is p, and nil itself after an error: a nil pointer in an interface
// would look like a pipe that can be closed.
func opened[P event.Pipe](p P, err error) (event.Pipe, error) {
	if err != nil {
		return nil, err
	}
	return p, nil
}
