package module

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"cleave/platform/audit"
	"cleave/platform/auth"
	"cleave/platform/db"
	"cleave/platform/event"
	"cleave/platform/event/broker"
	"cleave/platform/front"
	"cleave/platform/ops"
	"cleave/platform/ops/repair"
	opsv1 "cleave/platform/ops/v1"
	"cleave/platform/policy"
	"cleave/platform/rest"
	"cleave/platform/revocation"
	"cleave/platform/rpc"
	"cleave/platform/saga"
)

// openDatabases opens every module's database and brings it up to date, all
// modules at once.
func (h *Host) openDatabases(ctx context.Context) error {
	c := h.cfg.Database()
	c.Commit = h.o.Faults.Commit
	names := make([]string, len(h.here))
	h.running = make([]*running, len(h.here))
	for i, s := range h.here {
		names[i] = s.Name
		h.running[i] = &running{spec: s}
	}
	if len(names) > 0 && (h.cfg.DB.MigrateOnStart || c.Dialect() == "sqlite") {
		if err := db.Setup(ctx, c, names); err != nil {
			return err
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, r := range h.running {
		g.Go(func() error {
			d, err := db.Open(ctx, c, r.spec.Name, r.spec.Constraints)
			if err != nil {
				return err
			}
			r.db = d
			if err := d.Own(); err != nil {
				return err
			}
			if h.cfg.DB.MigrateOnStart {
				_, err = d.Migrate(ctx, r.spec.Migrations)
				return err
			}
			return d.CheckSchema(ctx, r.spec.Migrations)
		})
	}
	return g.Wait()
}

// wire builds the modules in dependency order and connects them.
func (h *Host) wire(ctx context.Context) error {
	e := h.cfg.Events
	var err error
	h.pipe, err = broker.Open(broker.Config{URL: e.Pipe, Retention: e.PipeRetention, Folder: filepath.Join(h.cfg.Data.Dir, "nats"), Log: h.o.Log})
	if err != nil {
		return fmt.Errorf("open events.pipe: %w", err)
	}
	if h.o.Faults.Pipe != nil {
		h.pipe = h.o.Faults.Pipe(h.pipe)
	}
	history := e.History
	if e.Pipe != broker.InProcess {
		history = 0 // the broker keeps it, see events.pipe_retention
	}
	h.bus = event.NewBus(event.Options{
		Batch: e.Batch, Poll: e.Poll, MaxAttempts: e.MaxAttempts, BackoffMin: e.BackoffMin, BackoffMax: e.BackoffMax,
		Retention: e.Retention, History: history, Pipe: h.pipe, Log: h.o.Log, Now: h.o.Now, NewID: NewID, Meter: h.metrics.Meter(), Traffic: h.traffic,
	})
	channels := map[string]*rpc.Channel{}
	owner := NewID()
	for _, r := range h.running {
		env, err := h.env(ctx, r, channels, owner)
		if err != nil {
			return err
		}
		r.env = env
		r.rules = policy.New(policy.Deps{DB: r.db, Audit: env.Audit, Policy: h.policy, Now: h.o.Now, NewID: NewID, Log: h.o.Log})
		if err := r.rules.Load(ctx); err != nil {
			return err
		}
		if r.parts, err = r.spec.Wire(env); err != nil {
			return fmt.Errorf("wire module %s: %w", r.spec.Name, err)
		}
		channels[r.spec.Name] = rpc.NewInProcess(h.policy, h.o.Log)
		if r.parts.RPC != nil {
			r.parts.RPC(h.traffic.Registrar(r.spec.Name, channels[r.spec.Name]))
		}
		if err := h.checkCalls(r.spec.Name, channels[r.spec.Name].GetServiceInfo()); err != nil {
			return err
		}
		if r.parts.Keys != nil {
			if h.keys != nil {
				return fmt.Errorf("module %s issues tokens, and another module does already", r.spec.Name)
			}
			h.keys = r.parts.Keys
		}
		if err := h.subscribe(ctx, r); err != nil {
			return err
		}
	}
	return h.mount()
}

// subscribe connects the handlers of the module, and those with which the platform follows the end of tokens for it.
func (h *Host) subscribe(ctx context.Context, r *running) error {
	r.feed = revocation.New(r.db, h.revoked, h.o.Log, h.o.Now)
	types, handlers := slices.Clone(r.spec.Subscribes), slices.Clone(r.parts.Handlers)
	for _, s := range h.specs {
		for _, source := range s.Revokes {
			types, handlers = append(types, source.Type), append(handlers, r.feed.Handler(source))
		}
	}
	if err := h.bus.Subscribe(r.spec.Name, r.db, types, handlers); err != nil {
		return err
	}
	if err := r.feed.Load(ctx); err != nil {
		return fmt.Errorf("load the revocations of module %s: %w", r.spec.Name, err)
	}
	return nil
}

func (h *Host) env(ctx context.Context, r *running, channels map[string]*rpc.Channel, owner string) (*Env, error) {
	key, err := r.db.Secret(ctx, "cursor", 32)
	if err != nil {
		return nil, fmt.Errorf("read the cursor key of module %s: %w", r.spec.Name, err)
	}
	s := h.cfg.Sagas
	env := &Env{
		Name: r.spec.Name, DB: r.db, Log: h.o.Log.With("module", r.spec.Name), Now: h.o.Now, NewID: NewID,
		Audit:   audit.New(r.db, h.cfg.Auth.Issuer, h.o.Now),
		Events:  h.bus.Publisher(r.spec.Name, r.db, r.spec.Publishes),
		Sagas:   saga.NewRunner(r.db, saga.Options{Poll: s.Poll, Lease: s.Lease, Workers: s.Workers, Log: h.o.Log, Now: h.o.Now, Owner: owner, Observer: h.metrics, Traffic: h.traffic}),
		Cursors: rest.NewCursors(key),
		Config:  h.cfg.Modules[r.spec.Name],
		Auth: AuthConfig{
			Issuer: h.cfg.Auth.Issuer, AccessTTL: h.cfg.Auth.AccessTTL, RefreshTTL: h.cfg.Auth.RefreshTTL,
			KeyEncryptionKey: h.cfg.Auth.KeyEncryptionKey, KeyEncryptionKeyOld: h.cfg.Auth.KeyEncryptionKeyOld, KeyRotation: h.cfg.Auth.KeyRotation, Revoked: h.revoked,
		},
		DataDir: h.cfg.Data.Dir, BaseURL: h.cfg.BaseURL(h.listener.Addr().String()), Startup: h.addLine,
		Forget: func(ctx context.Context, userID string) error {
			return errors.Join(event.Erase(ctx, r.db, userID), rest.ForgetAnswers(ctx, r.db, userID))
		},
		edges: map[string]*rpc.Edge{},
	}
	env.Auth.Audience = append(env.Auth.Audience, ops.Name)
	for _, s := range h.specs {
		env.Auth.Audience = append(env.Auth.Audience, s.Name)
	}
	for _, to := range r.spec.Uses {
		var target grpc.ClientConnInterface
		var identity rpc.Identity = rpc.Local{}
		if channel := channels[to]; channel != nil {
			target = channel
		} else {
			target, identity = h.links.peers[to].Edge(r.spec.Name), h.links.self.Calls(to)
		}
		if h.o.Faults.Conn != nil {
			target = h.o.Faults.Conn(r.spec.Name, to, target)
		}
		edge := rpc.NewEdge(r.spec.Name, to, identity, target)
		env.edges[to] = edge
		edge.Observe(h.metrics)
		edge.Count(h.traffic.Edge(r.spec.Name, to))
		r.edges = append(r.edges, edge)
	}
	return env, nil
}

// mount builds the public API of all modules.
func (h *Host) mount() error {
	for _, s := range h.away {
		if s.Keys != "" {
			h.keys = front.NewKeys(h.links.peers[s.Name], s.Keys)
		}
	}
	if h.keys == nil {
		return errors.New("no module issues tokens: one must set Parts.Keys")
	}
	databases := make([]*db.DB, len(h.running))
	for i, r := range h.running {
		databases[i] = r.db
	}
	h.metrics.Watch(h.o.Now, databases...)
	h.api = rest.New(rest.Options{
		Verifier: func(audience string) *auth.Verifier {
			v := auth.NewVerifier(h.keys, h.cfg.Auth.Issuer, audience, h.revoked, h.o.Now)
			v.Trust(h.issuers)
			return v
		},
		Limits: h.limits(), TrustedProxies: h.cfg.HTTP.TrustedProxies, CORSOrigins: h.cfg.HTTP.CORSOrigins,
		HTTPS:  strings.HasPrefix(h.cfg.BaseURL(""), "https://") || h.cfg.HTTP.TLSCert != "",
		Policy: h.policy, Log: h.o.Log, MaxBody: h.cfg.HTTP.MaxBody, RequestTimeout: h.cfg.HTTP.RequestTimeout,
		Now: h.o.Now, Version: h.o.Version, Ready: h.ready, Exact: h.o.Exact, Traced: h.cfg.Trace.Exporter != "none",
		Observer: h.metrics, Traffic: h.traffic, Metrics: h.publicMetrics(),
	})
	for _, r := range h.running {
		if err := h.api.Standard(r.spec.Name, r.spec.Paths, r.db, r.parts.HTTP); err != nil {
			return err
		}
		if r.parts.REST == nil {
			continue
		}
		if err := h.api.Module(r.spec.Name, r.spec.OpenAPI, r.db, r.parts.REST); err != nil {
			return err
		}
	}
	for _, s := range h.away {
		if err := h.api.Away(s.Name, s.OpenAPI, s.Paths, front.NewProxy(h.links.peers[s.Name], h.o.Log)); err != nil {
			return err
		}
	}
	return h.mountOps()
}

// mountOps adds the operators' API of all modules that run here.
func (h *Host) mountOps() error {
	modules, databases := map[string]ops.Module{}, map[string]*db.DB{}
	for _, r := range h.running {
		databases[r.spec.Name] = r.db
		modules[r.spec.Name] = ops.Module{Module: repair.Module{DB: r.db, Audit: r.env.Audit}, Cursors: r.env.Cursors, Rules: r.rules}
	}
	return h.api.Platform(ops.Name, opsv1.OpenAPI, databases, ops.Routes(modules, h.snapshot, h.api.Personal))
}

func (h *Host) limits() map[string]rest.Limit {
	l := h.cfg.Limits
	if !l.Enabled {
		return nil
	}
	return map[string]rest.Limit{
		rest.LimitLogin: rest.Limit(l.Login), rest.LimitRegister: rest.Limit(l.Register),
		rest.LimitRecovery: rest.Limit(l.Recovery), rest.LimitWrite: rest.Limit(l.Write),
	}
}

// serve starts the listener and everything that runs beside it.
func (h *Host) serve() error {
	for _, r := range h.running {
		h.start(r.spec.Name+" revocations", r.feed.Run)
		h.start(r.spec.Name+" policy", r.rules.Run)
		h.start(r.spec.Name+" sagas", r.env.Sagas.Run)
		for _, fn := range r.parts.Background {
			h.start(r.spec.Name, fn)
		}
		h.start(r.spec.Name+" idempotency keys", func(ctx context.Context) error { return h.purge(ctx, r.db) })
	}
	h.start("outside issuers", h.issuers.Run)
	for module, issuers := range h.links.accounts {
		h.start(module+" service accounts", issuers.Run)
	}
	h.start("rate limits", h.api.ShareLimits)
	h.start("events", h.bus.Run)
	if err := h.awaitSubscriptions(); err != nil {
		return err
	}
	h.server = &http.Server{
		Handler: h.api.Handler(), ReadHeaderTimeout: h.cfg.HTTP.HeaderTimeout, IdleTimeout: h.cfg.HTTP.IdleTimeout, MaxHeaderBytes: h.cfg.HTTP.MaxHeader,
		BaseContext: func(net.Listener) context.Context { return context.Background() },
	}
	h.serveProcesses()
	server, listener := h.server, h.listener
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			h.fail(fmt.Errorf("serve HTTP: %w", err))
		}
	}()
	return nil
}

// awaitSubscriptions waits until the broker has the subscriptions, so that a
// process that says it is ready misses no event. One that cannot be reached
// holds up nobody's orders: their events wait in the outboxes.
func (h *Host) awaitSubscriptions() error {
	const patience = 3 * time.Second
	select {
	case <-h.bus.Subscribed():
	case err := <-h.failed:
		return err
	case <-time.After(patience):
		h.o.Log.Warn("serving without the broker of events.pipe; events wait in the outboxes until it takes them")
	}
	return nil
}

func (h *Host) purge(ctx context.Context, d *db.DB) error {
	const every, keep = time.Hour, 24 * time.Hour
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			if _, err := rest.PurgeIdempotency(ctx, d, h.o.Now().Add(-keep)); err != nil && ctx.Err() == nil {
				h.o.Log.WarnContext(ctx, "old idempotency keys stay", "module", d.Module(), "error", err)
			}
		}
	}
}

// task is something that runs until it is stopped.
type task struct {
	name   string
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// start runs fn until the host stops; tasks stop in reverse order of starting.
func (h *Host) start(name string, fn func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	t := &task{name: name, cancel: cancel}
	h.tasks = append(h.tasks, t)
	t.done.Go(func() {
		if err := fn(ctx); err != nil && ctx.Err() == nil {
			h.fail(fmt.Errorf("%s: %w", name, err))
		}
	})
}

func (h *Host) fail(err error) {
	select {
	case h.failed <- err:
	default:
	}
}
