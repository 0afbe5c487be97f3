package module

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/resolver"
	"google.golang.org/protobuf/reflect/protoregistry"

	"cleave/platform/auth"
	"cleave/platform/config"
	"cleave/platform/db"
	"cleave/platform/event"
	"cleave/platform/event/broker"
	"cleave/platform/metrics"
	"cleave/platform/ops"
	"cleave/platform/policy"
	"cleave/platform/rest"
	"cleave/platform/revocation"
	"cleave/platform/rpc"
	"cleave/platform/tlsfiles"
	"cleave/platform/traffic"
	"cleave/platform/worker"
)

// Host runs modules in one process.
type Host struct {
	cfg   *config.Config
	specs []Spec // in dependency order
	start []Spec // those with which the process starts
	o     Options

	links     *links
	pipe      event.Pipe
	identity  atomic.Pointer[identified] // of the pipe; nil when it has none
	bus       *event.Bus                 // of all modules; nil with a broker, where each has its own
	policy    *auth.Policy
	revoked   *auth.Revocations
	issuers   *auth.Issuers // outside ones
	door      atomic.Pointer[door]
	comparing atomic.Pointer[comparison]
	documents rest.Documents // of all doors
	listener  net.Listener
	server    *http.Server
	metrics   *metrics.Metrics
	traffic   *traffic.Recorder
	scrapes   *http.Server // of metrics.addr; nil without
	tasks     tasks
	failed    chan error

	moving   sync.Mutex        // held while a module or an edge moves
	placed   sync.RWMutex      // guards the rest, which moves
	running  []*running        // in dependency order
	requests map[string]string // by module, where clients' requests go; Here, or an address
	version  int64             // counts the moves

	mu    sync.Mutex
	lines []Line
}

// Options are what a test or an embedding program may set; the zero value suits
// a process.
type Options struct {
	Log     *slog.Logger     // default: discard
	Out     io.Writer        // the start-up block; default: none
	Version string           // shown by /openapi.json and the start-up block
	Now     func() time.Time // default: time.Now
	// Exact makes a response that the OpenAPI document does not describe a 500,
	// for tests.
	Exact bool
	// Workers lets modules' workers have processes of their own, for a program that begins with worker.Main.
	Workers bool
	// Resolvers find the processes that run other modules in registries; a target of topology.peers chooses one by its scheme.
	Resolvers []resolver.Builder
	// Kafka opens the pipe of events for kafka://; nil: such an address fails the start.
	Kafka func(broker.Kafka) (event.Pipe, error)
	// Contracts are the contracts of all modules; default: those linked into the binary.
	Contracts *protoregistry.Files
	// Faults is for tests that make things fail.
	Faults Faults
}

// Faults stand between the modules and what they stand on. A nil one does
// nothing.
type Faults struct {
	Commit func(ctx context.Context, module string, commit func() error) error // see db.Config
	Conn   func(from, to string, c grpc.ClientConnInterface) grpc.ClientConnInterface
	Pipe   func(event.Pipe) event.Pipe
	Front  func(module string, c grpc.ClientConnInterface) grpc.ClientConnInterface // over which requests for the module go
}

// Line is a line of the start-up block.
type Line struct{ Label, Value string }

// running is a module between start and stop.
type running struct {
	spec     Spec
	db       *db.DB
	database string // which one db is, the same for all processes on it
	env      *Env
	parts    Parts
	edges    []*placedEdge
	channel  *rpc.Channel
	bus      *event.Bus // nil when the host has one for all
	feed     *revocation.Feed
	rules    *policy.Store
	worker   *worker.Worker // nil: the module has none, or it works in this process
	tasks    tasks
}

// StartError is a failure before the process was ready: nothing was served.
type StartError struct{ Err error }

func (e *StartError) Error() string { return e.Err.Error() }
func (e *StartError) Unwrap() error { return e.Err }

// NewHost checks the modules against each other and their policies. It opens
// nothing.
func NewHost(cfg *config.Config, o Options, specs ...Spec) (*Host, error) {
	sorted, err := Order(specs)
	if err != nil {
		return nil, &StartError{err}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Out == nil {
		o.Out = io.Discard
	}
	if o.Contracts == nil {
		o.Contracts = protoregistry.GlobalFiles
	}
	policies := map[string]string{ops.Name: ops.Policy}
	for _, s := range sorted {
		if s.Name == ops.Name {
			return nil, &StartError{fmt.Errorf("no module may be named %s: that is the platform's", ops.Name)}
		}
		policies[s.Name] = s.Policy
	}
	decides, err := auth.NewPolicy(policies)
	if err != nil {
		return nil, &StartError{err}
	}
	h := &Host{
		cfg: cfg, specs: sorted, o: o, policy: decides, metrics: metrics.New(o.Version), traffic: traffic.New(o.Now), revoked: &auth.Revocations{},
		failed: make(chan error, 1), requests: map[string]string{},
	}
	h.tasks.fail = h.fail
	if h.issuers, err = OutsideIssuers(cfg, decides, o); err != nil {
		return nil, &StartError{err}
	}
	if h.start, err = place(cfg, sorted); err != nil {
		return nil, &StartError{err}
	}
	return h, nil
}

// serveGC is the garbage collector's percentage (runtime/debug.SetGCPercent),
// unless GOGC sets one: so little is alive that the usual 100 would collect a
// hundred times a second under load.
const serveGC = 400

// settle is how long after the start the process gives back the memory that
// only the start needed: the first requests need the processor more.
const settle = time.Second

// Run starts the modules, serves until ctx ends or a background task fails, and
// stops. An error before readiness is a *StartError.
func (h *Host) Run(ctx context.Context) error {
	if _, chosen := os.LookupEnv("GOGC"); !chosen {
		debug.SetGCPercent(serveGC)
	}
	if err := h.Start(ctx); err != nil {
		return err
	}
	settled := time.AfterFunc(settle, func() {
		debug.FreeOSMemory() // of several megabytes of garbage
		releaseImage()
	})
	defer settled.Stop()
	var err error
	select {
	case <-ctx.Done():
	case err = <-h.failed:
	}
	return errors.Join(err, h.Stop(context.WithoutCancel(ctx)))
}

// Start returns once the process answers requests. When it fails, what it had
// opened is closed again.
func (h *Host) Start(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			err = &StartError{errors.Join(err, h.Stop(context.WithoutCancel(ctx)))}
		}
	}()
	h.listener, err = new(net.ListenConfig).Listen(ctx, "tcp", h.cfg.HTTP.Addr)
	if err != nil {
		return fmt.Errorf("listen on http.addr %s: %w", h.cfg.HTTP.Addr, err)
	}
	if h.cfg.HTTP.TLSCert != "" {
		files, err := tlsfiles.Load(h.cfg.HTTP.TLSCert, h.cfg.HTTP.TLSKey, h.o.Log, h.o.Now)
		if err != nil {
			return fmt.Errorf("http.tls_cert: %w", err)
		}
		c := files.Server()
		c.NextProtos = []string{"h2", "http/1.1"}
		h.listener = tls.NewListener(h.listener, c)
	}
	if err := h.listenForScrapes(ctx); err != nil {
		return err
	}
	if err := os.MkdirAll(h.cfg.Data.Dir, 0o700); err != nil {
		return fmt.Errorf("make the data folder data.dir: %w", err)
	}
	if err := h.connect(ctx); err != nil {
		return err
	}
	if err := h.assemble(ctx); err != nil {
		return err
	}
	h.serveProcesses()
	if err := h.refuseMisfits(ctx); err != nil {
		return err
	}
	if err := h.serve(); err != nil {
		return err
	}
	h.printStartup()
	return nil
}

// URL is where this process is reached from this machine.
func (h *Host) URL() string { return h.cfg.LocalURL(h.listener.Addr().String()) }

// DB returns the database of a running module, for tests and commands.
func (h *Host) DB(name string) *db.DB {
	if r := h.find(name); r != nil {
		return r.db
	}
	return nil
}

func (h *Host) addLine(label, value string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines = append(h.lines, Line{label, value})
}

func (h *Host) printStartup() {
	h.mu.Lock()
	defer h.mu.Unlock()
	url := h.cfg.BaseURL(h.listener.Addr().String())
	lines := []Line{{"API", url + "/api/v1"}, {"docs", url + "/docs"}}
	if len(h.start) < len(h.specs) {
		lines = append(lines, Line{"modules", h.summary()})
	}
	store := "SQLite files in " + h.cfg.Data.Dir
	if h.cfg.Database().Dialect() == "postgres" {
		store = "Postgres, a schema and a role per module"
	}
	if len(h.start) > 0 {
		lines = append(lines, Line{"database", store})
	}
	lines = append(append(lines, h.lines...), Line{"health", url + "/readyz?verbose"})
	fmt.Fprintf(h.o.Out, "Cleave %s is ready\n", h.o.Version)
	for _, l := range lines {
		fmt.Fprintf(h.o.Out, "  %-18s %s\n", l.Label, l.Value)
	}
}

// summary says which modules run here, and where the others are.
func (h *Host) summary() string {
	var here, away []string
	for _, s := range h.specs {
		if h.find(s.Name) != nil {
			here = append(here, s.Name)
		} else {
			away = append(away, s.Name+" at "+h.requestsOf(s.Name))
		}
	}
	if len(here) == 0 {
		here = []string{"none, a gateway"}
	}
	return strings.Join(append([]string{strings.Join(here, ", ")}, away...), "; ")
}

// NewID returns a UUIDv7 (RFC 9562), whose text sorts by time.
func NewID() string { return uuid.Must(uuid.NewV7()).String() }
