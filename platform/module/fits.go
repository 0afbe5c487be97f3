package module

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"cleave/platform/event"
	frontv1 "cleave/platform/front/v1"
	"cleave/platform/peer"
	peerv1 "cleave/platform/peer/v1"
)

// identityTimeout bounds the question to a broker which one it is.
const identityTimeout = time.Second

// reachTimeout is for a process that has not answered yet.
const reachTimeout = 5 * time.Second

// identified is an event.Pipe that can tell which one it is: processes with the same answer share their events. Others are not compared.
type identified interface {
	Identity(ctx context.Context) (string, error)
}

// exchange is the method with which every process hands requests of clients over.
var exchange = strings.TrimPrefix(frontv1.FrontService_Exchange_FullMethodName, "/")

// describer tells other processes what this one is.
type describer struct {
	peerv1.UnimplementedPeerServiceServer

	host *Host
}

// Describe tells about a module that runs here.
func (d describer) Describe(ctx context.Context, req *peerv1.DescribeRequest) (*peerv1.DescribeResponse, error) {
	h := d.host
	r := h.find(req.GetModule())
	if r == nil {
		return nil, status.Error(codes.Unavailable, "this process does not run the module")
	}
	schema, err := schemaVersion(r.spec.Migrations)
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	methods := []string{exchange}
	for _, c := range h.policy.Calls(r.spec.Name) {
		if !slices.Contains(methods, c.Method) {
			methods = append(methods, c.Method)
		}
	}
	migrated, err := r.db.SchemaVersion(ctx)
	if err != nil {
		h.o.Log.DebugContext(ctx, "the database does not say which schema it has", "module", r.spec.Name, "error", err)
	}
	return &peerv1.DescribeResponse{
		Version: h.o.Version, Schema: schema, Pipe: h.pipeIdentity(ctx), Contract: peer.Contract(h.o.Contracts, methods, typeNames(r.spec.Publishes)),
		Migrated: migrated, Database: r.database,
	}, nil
}

// pipeIdentity is "" while the pipe has not said.
func (h *Host) pipeIdentity(ctx context.Context) string {
	ask := h.identity.Load()
	if ask == nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, identityTimeout)
	defer cancel()
	id, err := (*ask).Identity(ctx)
	if err != nil {
		h.o.Log.DebugContext(ctx, "the event pipe does not say which one it is", "error", err)
		return ""
	}
	return id
}

// fits returns a peer.Options.Check: whether this process may use the module at the other end of a connection. It waits for piped.
// Replicas that stand, by their addresses, must share one database.
func (h *Host) fits(s Spec, piped <-chan struct{}, standing func(addr string) bool) func(context.Context, string, grpc.ClientConnInterface) error {
	var told sync.Map // what has been logged
	databases := databases{of: map[string]string{}}
	return func(ctx context.Context, addr string, conn grpc.ClientConnInterface) error {
		select {
		case <-piped:
		case <-ctx.Done():
			return ctx.Err()
		}
		d, err := peerv1.NewPeerServiceClient(conn).Describe(ctx, &peerv1.DescribeRequest{Module: s.Name})
		if err != nil {
			return fmt.Errorf("ask for the description of module %s: %w", s.Name, err)
		}
		own, err := schemaVersion(s.Migrations)
		if err != nil {
			return err
		}
		if _, known := told.Swap(d.GetVersion()+" "+strconv.FormatInt(d.GetSchema(), 10), true); !known && (d.GetSchema() != own || d.GetVersion() != h.o.Version) {
			h.o.Log.InfoContext(ctx, "a module runs elsewhere in another release", "module", s.Name, "version", d.GetVersion(), "version_here", h.o.Version,
				"schema", d.GetSchema(), "schema_here", own)
		}
		if why := peer.Fits(h.needs(s), d.GetContract()); why != nil {
			return peer.Incompatible("the release %q of the module %s there does not fit the release %q here: %s; run releases with compatible contracts in both processes",
				d.GetVersion(), s.Name, h.o.Version, why)
		}
		if pipe := h.pipeIdentity(ctx); pipe != "" && d.GetPipe() != "" && pipe != d.GetPipe() {
			return peer.Incompatible("the module %s there is on another event pipe than this process: events.pipe must name the same broker in both", s.Name)
		}
		if other := databases.other(addr, d.GetDatabase(), standing); other != "" {
			return peer.Incompatible("the module %s there uses another database than the process at %s, which runs it too: let both use one, or name only one in topology.peers.%[1]s", s.Name, other)
		}
		return nil
	}
}

// databases are those of the replicas of a module.
type databases struct {
	mu sync.Mutex
	of map[string]string // by address
}

// other returns the address of a replica that stands and uses another database than the one at addr, which is recorded if there is none.
func (d *databases) other(addr, database string, stands func(addr string) bool) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.of, addr)
	for other, its := range d.of {
		if !stands(other) {
			delete(d.of, other)
		} else if database != "" && its != database {
			return other
		}
	}
	if database != "" {
		d.of[addr] = database
	}
	return ""
}

// needs is the contract of the module s as far as modules that run here rely on it, and that of requests.
func (h *Host) needs(s Spec) *peerv1.Contract {
	methods, events := []string{exchange}, []string(nil)
	for _, here := range h.hosted() {
		for _, c := range h.policy.Calls(s.Name) {
			if c.Caller == here.Name && !slices.Contains(methods, c.Method) {
				methods = append(methods, c.Method)
			}
		}
		followed := slices.Clone(here.Subscribes)
		for _, r := range s.Revokes {
			followed = append(followed, r.Type)
		}
		for _, name := range typeNames(slices.DeleteFunc(followed, func(t event.Type) bool { return !slices.Contains(s.Publishes, t) })) {
			if !slices.Contains(events, name) {
				events = append(events, name)
			}
		}
	}
	return peer.Contract(h.o.Contracts, methods, events)
}

// hosted are the modules that run here, or will when the process has started.
func (h *Host) hosted() (specs []Spec) {
	h.placed.RLock()
	defer h.placed.RUnlock()
	if h.running == nil {
		return h.start
	}
	for _, r := range h.running {
		specs = append(specs, r.spec)
	}
	return specs
}

// schemaVersion is the number of the last migration; 0 without one. Each database has the same ones.
func schemaVersion(migrations fs.FS) (last int64, err error) {
	if migrations == nil {
		return 0, nil
	}
	files, err := fs.Glob(migrations, "*/*.sql")
	if err != nil {
		return 0, fmt.Errorf("list the migrations: %w", err)
	}
	for _, f := range files {
		number, _, _ := strings.Cut(path.Base(f), "_")
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("the migration %s has no number: %w", f, err)
		}
		last = max(last, n)
	}
	return last, nil
}
