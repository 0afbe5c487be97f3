// Package config reads the process's configuration into one validated struct.
//
// Values come from defaults, then a YAML file, then CLEAVE_ environment
// variables, then flags; the later wins. The key http.addr is the environment
// variable CLEAVE_HTTP_ADDR. A key or variable that nothing reads is an error,
// and so is a value outside its limits: the process then does not start, and the
// message names every such key with its value, what is allowed, and where it
// came from. A module adds its own keys below modules.<name>.
package config

import (
	"net"
	"strings"
	"time"
)

// Config is everything a process can be told. Default returns the values that
// hold when nothing is said.
type Config struct {
	HTTP     HTTP     `mapstructure:"http"`
	Data     Data     `mapstructure:"data"`
	Limits   Limits   `mapstructure:"limits"`
	DB       DB       `mapstructure:"db"`
	Log      Log      `mapstructure:"log"`
	Trace    Trace    `mapstructure:"trace"`
	Metrics  Metrics  `mapstructure:"metrics"`
	Auth     Auth     `mapstructure:"auth"`
	Events   Events   `mapstructure:"events"`
	Sagas    Sagas    `mapstructure:"sagas"`
	Topology Topology `mapstructure:"topology"`
	// Modules holds the pointers that Options.Sections gave, filled.
	Modules map[string]any `mapstructure:"-" validate:"-"`

	origin map[string]string // key → source; keys left at their default are absent
}

// HTTP is the public REST listener.
type HTTP struct {
	// Addr is what the listener binds; port 0 takes a free one.
	Addr string `mapstructure:"addr" validate:"listen_addr" allowed:"host:port with a port from 0 to 65535, such as 127.0.0.1:8080 or :8080"`
	// PublicURL is where clients reach the API; links in mails begin with it. Empty derives it from Addr.
	PublicURL string `mapstructure:"public_url" validate:"omitempty,http_url"`
	// MaxBody limits a request body, in bytes.
	MaxBody int64 `mapstructure:"max_body" validate:"min=1024,max=67108864"`
	// MaxHeader limits the header of a request, in bytes.
	MaxHeader int `mapstructure:"max_header" validate:"min=4096,max=1048576"`
	// HeaderTimeout is how long a client may take to send the header of a request.
	HeaderTimeout time.Duration `mapstructure:"header_timeout" validate:"min=100ms,max=1m"`
	// IdleTimeout closes a connection on which no further request comes.
	IdleTimeout time.Duration `mapstructure:"idle_timeout" validate:"min=1s,max=1h"`
	// RequestTimeout is the deadline of one request; streams are exempt.
	RequestTimeout time.Duration `mapstructure:"request_timeout" validate:"min=100ms,max=10m"`
	// TLSCert and TLSKey are PEM files; with both the listener speaks TLS 1.2 or newer. They are read again when they change.
	TLSCert string `mapstructure:"tls_cert" validate:"required_with=TLSKey,max=4096" allowed:"the path of a PEM file, with http.tls_key, or empty for no TLS"`
	TLSKey  string `mapstructure:"tls_key" validate:"required_with=TLSCert,max=4096" allowed:"the path of a PEM file, with http.tls_cert, or empty for no TLS"`
	// TrustedProxies are believed when they say in X-Forwarded-For for whom they ask.
	TrustedProxies []string `mapstructure:"trusted_proxies" validate:"max=64,dive,ip|cidr" allowed:"a list of addresses and networks, such as 10.0.0.0/8"`
	// CORSOrigins are the web origins, beside the API's own, whose pages may call the API from a browser.
	CORSOrigins []string `mapstructure:"cors_origins" validate:"max=64,dive,web_origin" allowed:"a list of origins such as https://shop.example, none of them *"`
	// DrainDelay is how long the process goes on serving after it has said that it is not ready,
	// so that load balancers see it first.
	DrainDelay time.Duration `mapstructure:"drain_delay" validate:"min=0s,max=5m"`
	// ShutdownTimeout limits the whole stop after DrainDelay; requests still running are cut off.
	ShutdownTimeout time.Duration `mapstructure:"shutdown_timeout" validate:"min=1s,max=10m"`
}

// Limits are how many requests pass per minute (OWASP API4:2023). Replicas that share a Postgres count together.
type Limits struct {
	// Enabled false lets everything through.
	Enabled bool `mapstructure:"enabled"`
	// Login is about attempts to prove an identity.
	Login Limit `mapstructure:"login"`
	// Register is about new accounts.
	Register Limit `mapstructure:"register"`
	// Recovery is about the mails that anyone can cause.
	Recovery Limit `mapstructure:"recovery"`
	// Write is about every other request that may change something.
	Write Limit `mapstructure:"write"`
}

// Limit is a number of requests per minute; 0 is no limit.
type Limit struct {
	// Address limits those of one IPv4 address or IPv6 /64 network.
	Address int `mapstructure:"address" validate:"min=0,max=1000000"`
	// Identity limits those of one user, or for the account that the request names.
	Identity int `mapstructure:"identity" validate:"min=0,max=1000000"`
}

// Data is the folder for the SQLite files, generated keys and unsent mails.
type Data struct {
	Dir string `mapstructure:"dir" validate:"required,max=4096" allowed:"the path of a folder, which is created when it does not exist"`
}

// DB chooses the database; without DSN and AdminDSN it is SQLite in the data folder.
type DB struct {
	// DSN names the Postgres server and database. Each module connects with its own role.
	DSN string `mapstructure:"dsn" validate:"omitempty,postgres_dsn" allowed:"a Postgres address such as postgres://host:5432/cleave?sslmode=require, or empty for SQLite" secret:"address"`
	// AdminDSN may create roles and schemas; only set-up and migrations use it.
	AdminDSN string `mapstructure:"admin_dsn" validate:"omitempty,postgres_dsn" allowed:"a Postgres address of a role that may create roles and schemas, or empty" secret:"address"`
	// RoleSecret derives the passwords of the modules' roles; empty derives them from AdminDSN's password.
	RoleSecret string `mapstructure:"role_secret" validate:"omitempty,min=16,max=1024" secret:"true"`
	// Modules gives a module its own complete DSN.
	Modules map[string]string `mapstructure:"modules" validate:"dive,postgres_dsn" allowed:"a complete Postgres address with user and password for each module named" secret:"address"`
	// MaxConns limits the connections of each module; 0 is four per processor, at least eight.
	MaxConns int `mapstructure:"max_conns" validate:"min=0,max=1000"`
	// MigrateOnStart brings the schema up to date before serving.
	MigrateOnStart bool `mapstructure:"migrate_on_start"`
}

// Log is the process's log, on standard error.
type Log struct {
	Level string `mapstructure:"level" validate:"oneof=debug info warn error"`
	// Format is empty for text on a terminal and json elsewhere.
	Format string `mapstructure:"format" validate:"omitempty,oneof=text json"`
}

// Trace is where spans go. OTEL_ environment variables set the details.
type Trace struct {
	Exporter string `mapstructure:"exporter" validate:"oneof=none otlp stdout"`
}

// Metrics is where Prometheus reads how the process does.
type Metrics struct {
	// Addr is a listener of its own for /metrics; it has no other protection than where it listens. Empty serves
	// /metrics beside the API to this machine alone.
	Addr string `mapstructure:"addr" validate:"omitempty,listen_addr" allowed:"host:port with a port from 0 to 65535, such as 127.0.0.1:9464 or :9464, or empty"`
}

// Auth is about the tokens this process issues and accepts.
type Auth struct {
	// Issuer is the iss of tokens (RFC 9068); changing it invalidates those already issued.
	Issuer     string        `mapstructure:"issuer" validate:"http_url,max=255"`
	AccessTTL  time.Duration `mapstructure:"access_ttl" validate:"min=5s,max=1h"`
	RefreshTTL time.Duration `mapstructure:"refresh_ttl" validate:"min=1m,max=8760h,gtefield=AccessTTL"`
	// KeyRotation is how long a key signs before the next one does; 0 leaves it to `app user keys rotate`.
	KeyRotation time.Duration `mapstructure:"key_rotation" validate:"omitempty,min=1h,max=87600h"`
	// KeyEncryptionKey is the secret that encrypts signing keys in the database; empty keeps them plain.
	KeyEncryptionKey string `mapstructure:"key_encryption_key" validate:"omitempty,min=32,max=1024" secret:"true"`
	// KeyEncryptionKeyOld is the one before, which is needed once to encrypt the keys anew.
	KeyEncryptionKeyOld string `mapstructure:"key_encryption_key_old" validate:"omitempty,min=32,max=1024" secret:"true"`
	// Issuers are outside issuers whose access tokens are accepted, too.
	Issuers []Issuer `mapstructure:"issuers" validate:"max=16,unique=Issuer,dive" allowed:"a list of at most 16 different issuers with issuer and audience each; in a variable as JSON"`
}

// Events is the delivery of events between modules.
type Events struct {
	// Pipe carries events from the outboxes to the inboxes: within the process, or over a broker.
	Pipe string `mapstructure:"pipe" validate:"pipe_url" allowed:"inproc, or a broker's address: nats://, nats+tls://, kafka://, kafka+tls://, amqp:// or amqps:// with a host" secret:"broker"`
	// PipeRetention is how long a broker keeps an event, for subscribers that are away and for new ones that ask for history.
	PipeRetention time.Duration `mapstructure:"pipe_retention" validate:"min=1m,max=87600h"`
	// Batch is how many events one delivery transaction takes.
	Batch int `mapstructure:"batch" validate:"min=1,max=1000"`
	// Poll is the fallback for a commit whose nudge was lost.
	Poll time.Duration `mapstructure:"poll" validate:"min=10ms,max=1m"`
	// MaxAttempts is how often a handler is tried before the event is a dead letter.
	MaxAttempts int           `mapstructure:"max_attempts" validate:"min=1,max=1000"`
	BackoffMin  time.Duration `mapstructure:"backoff_min" validate:"min=1ms,max=1h"`
	BackoffMax  time.Duration `mapstructure:"backoff_max" validate:"min=1ms,max=24h,gtefield=BackoffMin"`
	// Retention is how long the marks of handled events are kept; an event redelivered later would take effect again.
	Retention time.Duration `mapstructure:"retention" validate:"min=1m,max=8760h"`
	// History is how long published events are kept, without a broker, for handlers that come later and ask for it; 0 keeps none,
	// and more than Retention counts as that.
	History time.Duration `mapstructure:"history" validate:"min=0s,max=8760h"`
}

// Sagas is the runner of sagas.
type Sagas struct {
	Poll time.Duration `mapstructure:"poll" validate:"min=10ms,max=1m"`
	// Lease is how long a saga belongs to one process that is out of reach. Of one that is known to have ended,
	// another takes it over at once.
	Lease   time.Duration `mapstructure:"lease" validate:"min=1s,max=10m"`
	Workers int           `mapstructure:"workers" validate:"min=1,max=256"`
}

// Topology says which modules this process runs, and where the others are.
type Topology struct {
	// Modules are the names of those that run here, "all" for every one; none makes a gateway, which hands every request on.
	Modules []string `mapstructure:"modules" validate:"max=64" allowed:"all, or the modules that run in this process, as order,user; nothing for a gateway"`
	// Addr is what the listener for other processes binds; empty is none. It is not for clients: who connects must be one of the services.
	Addr string `mapstructure:"addr" validate:"omitempty,listen_addr" allowed:"host:port with a port from 0 to 65535, such as :7443, or empty"`
	// Peers are the addresses of the processes that run the other modules.
	Peers map[string]string `mapstructure:"peers" validate:"dive,required,max=1024" allowed:"for each module that runs elsewhere its address: host:port, several separated by commas, or dns:///name:port"`
	// TLSCert, TLSKey and TLSCA are PEM files: the certificate by which the other processes know this one (an X.509-SVID), its
	// key, and the authorities that vouch for the others. They are read again when they change.
	TLSCert string `mapstructure:"tls_cert" validate:"max=4096" allowed:"the path of a PEM file"`
	TLSKey  string `mapstructure:"tls_key" validate:"max=4096" allowed:"the path of a PEM file"`
	TLSCA   string `mapstructure:"tls_ca" validate:"max=4096" allowed:"the path of a PEM file"`
	// TokenFile has the Kubernetes service-account token that this process shows to others instead of its certificate. {module} in it
	// is the module that is called, which must be the token's audience. Empty shows the certificate.
	TokenFile string `mapstructure:"token_file" validate:"max=4096" allowed:"a path such as /var/run/secrets/cleave/{module}, or empty"`
	// AccountIssuer is the one of auth.issuers that issues the tokens of Accounts. Their audience is the module called.
	AccountIssuer string `mapstructure:"account_issuer" validate:"max=255" allowed:"the issuer of one of auth.issuers, with topology.accounts"`
	// Accounts are the service accounts that prove a process without a certificate.
	Accounts []Account `mapstructure:"accounts" validate:"max=256,unique=Account,dive" allowed:"a list of at most 256 different accounts with the modules of each; in a variable as JSON"`
	Calls    Calls     `mapstructure:"calls"`
}

// Calls bound what a process in trouble costs those that call its modules; see peer.Limits.
type Calls struct {
	// Attempts is how often a call is tried in all before its deadline, when its contract says that repeating it changes nothing.
	Attempts int `mapstructure:"attempts" validate:"min=1,max=5"`
	// Concurrency is how many calls of one module to another may be under way; further ones fail.
	Concurrency int `mapstructure:"concurrency" validate:"min=1,max=100000"`
	// BreakAfter is how many calls in a row must be lost on the way or get no answer in time before the next ones fail at once.
	BreakAfter int `mapstructure:"break_after" validate:"min=1,max=100000"`
	// BreakFor is how long they fail at once before one is let through to try.
	BreakFor time.Duration `mapstructure:"break_for" validate:"min=10ms,max=5m"`
}

// Account is a Kubernetes service account.
type Account struct {
	Account string `mapstructure:"account" validate:"required,max=320" allowed:"NAMESPACE/NAME"`
	// Modules are those that its processes run, in the order of their certificate; none is a gateway.
	Modules []string `mapstructure:"modules" validate:"max=64,dive,required,max=63"`
}

// AllModules in Topology.Modules stands for every module.
const AllModules = "all"

// Default is the configuration of a process that was told nothing.
func Default() *Config {
	return &Config{
		HTTP: HTTP{
			Addr: "127.0.0.1:8080", MaxBody: 1 << 20, MaxHeader: 32 << 10, HeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute,
			RequestTimeout: 15 * time.Second, ShutdownTimeout: 20 * time.Second, TrustedProxies: []string{}, CORSOrigins: []string{},
		},
		Limits: Limits{
			Enabled: true, Login: Limit{Address: 60, Identity: 10}, Register: Limit{Address: 60, Identity: 5}, Recovery: Limit{Address: 20, Identity: 3},
			Write: Limit{Address: 1200, Identity: 1200},
		},
		Data:  Data{Dir: "./data"},
		DB:    DB{Modules: map[string]string{}, MigrateOnStart: true},
		Log:   Log{Level: "info"},
		Trace: Trace{Exporter: "none"},
		Auth: Auth{
			Issuer: "http://127.0.0.1:8080", AccessTTL: 10 * time.Minute, RefreshTTL: 30 * 24 * time.Hour, KeyRotation: 30 * 24 * time.Hour, Issuers: []Issuer{},
		},
		Events: Events{
			Pipe: "inproc", PipeRetention: 30 * 24 * time.Hour,
			Batch: 50, Poll: 500 * time.Millisecond, MaxAttempts: 10,
			BackoffMin: 50 * time.Millisecond, BackoffMax: 30 * time.Second, Retention: 7 * 24 * time.Hour, History: 24 * time.Hour,
		},
		Sagas: Sagas{Poll: 500 * time.Millisecond, Lease: 10 * time.Second, Workers: 16},
		Topology: Topology{
			Modules: []string{AllModules}, Peers: map[string]string{}, Accounts: []Account{},
			Calls: Calls{Attempts: 4, Concurrency: 512, BreakAfter: 20, BreakFor: 2 * time.Second},
		},
		Modules: map[string]any{},
	}
}

// BaseURL is http.public_url without a trailing slash, or else LocalURL of addr,
// the address that the listener is bound to.
func (c *Config) BaseURL(addr string) string {
	if c.HTTP.PublicURL != "" {
		return strings.TrimRight(c.HTTP.PublicURL, "/")
	}
	return c.LocalURL(addr)
}

// LocalURL is the URL under which this machine reaches the API's listener when
// it is bound to addr: a listener on every interface is reached on the loopback
// one.
func (c *Config) LocalURL(addr string) string {
	scheme := "http://"
	if c.HTTP.TLSCert != "" {
		scheme = "https://"
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return scheme + addr
	}
	switch ip := net.ParseIP(host); {
	case host == "", ip != nil && ip.IsUnspecified() && ip.To4() != nil:
		host = "127.0.0.1"
	case ip != nil && ip.IsUnspecified():
		host = "::1"
	}
	return scheme + net.JoinHostPort(host, port)
}
