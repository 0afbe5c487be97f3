package module

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"google.golang.org/grpc"

	"cleave/platform/audit"
	"cleave/platform/event"
	"cleave/platform/ops"
	"cleave/platform/policy"
	"cleave/platform/rest"
	"cleave/platform/revocation"
	"cleave/platform/rpc"
	"cleave/platform/saga"
	"cleave/platform/worker"
)

// wire builds a module whose database is open, after those that it uses.
func (h *Host) wire(ctx context.Context, r *running) error {
	bus := h.bus
	if bus == nil {
		r.bus = h.newBus()
		bus = r.bus
	}
	env, err := h.env(ctx, r, bus)
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
	r.channel = rpc.NewInProcess(h.policy, h.o.Log)
	if r.parts.RPC != nil {
		r.parts.RPC(h.traffic.Registrar(r.spec.Name, r.channel))
	}
	if err := h.checkCalls(r.spec.Name, r.channel.GetServiceInfo()); err != nil {
		return err
	}
	return h.subscribe(ctx, r, bus)
}

// subscribe connects the handlers of the module, and those with which the platform follows the end of tokens for it.
func (h *Host) subscribe(ctx context.Context, r *running, bus *event.Bus) error {
	r.feed = revocation.New(r.db, h.revoked, h.o.Log, h.o.Now)
	types, handlers := slices.Clone(r.spec.Subscribes), slices.Clone(r.parts.Handlers)
	for _, s := range h.specs {
		for _, source := range s.Revokes {
			types, handlers = append(types, source.Type), append(handlers, r.feed.Handler(source))
		}
	}
	if err := bus.Subscribe(r.spec.Name, r.db, types, handlers); err != nil {
		return err
	}
	if err := r.feed.Load(ctx); err != nil {
		return fmt.Errorf("load the revocations of module %s: %w", r.spec.Name, err)
	}
	return nil
}

func (h *Host) env(ctx context.Context, r *running, bus *event.Bus) (*Env, error) {
	key, err := r.db.Secret(ctx, "cursor", 32)
	if err != nil {
		return nil, fmt.Errorf("read the cursor key of module %s: %w", r.spec.Name, err)
	}
	s := h.cfg.Sagas
	env := &Env{
		Name: r.spec.Name, DB: r.db, Log: h.o.Log.With("module", r.spec.Name), Now: h.o.Now, NewID: NewID,
		Audit:  audit.New(r.db, h.cfg.Auth.Issuer, h.o.Now),
		Events: bus.Publisher(r.spec.Name, r.db, r.spec.Publishes),
		Sagas: saga.NewRunner(r.db, saga.Options{
			Poll: s.Poll, Lease: s.Lease, Workers: s.Workers, Log: h.o.Log, Now: h.o.Now, Owner: NewID(), Observer: h.metrics, Traffic: h.traffic,
		}),
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
	env.Work = r.spec.Worker
	if h.o.Workers && r.spec.Worker != nil {
		r.worker = worker.New(r.spec.Name, r.spec.Worker, env.Log)
		env.Work = r.worker.Do
	}
	env.Auth.Audience = append(env.Auth.Audience, ops.Name)
	for _, s := range h.specs {
		env.Auth.Audience = append(env.Auth.Audience, s.Name)
	}
	for _, to := range r.spec.Uses {
		identity, conn, where, err := h.target(r.spec.Name, to, "")
		if err != nil {
			return nil, err
		}
		edge := rpc.NewEdge(r.spec.Name, to, identity, conn)
		env.edges[to] = edge
		edge.Observe(h.metrics)
		edge.Count(h.traffic.Edge(r.spec.Name, to))
		r.edges = append(r.edges, &placedEdge{Edge: edge, from: r.spec.Name, to: to, where: where})
	}
	return env, nil
}

// Here is where a module is that this process runs.
const Here = "here"

// placedEdge is an edge with where it leads: Here, or an address.
type placedEdge struct {
	*rpc.Edge
	from, to, where string
	left            []func(context.Context) error // wait for the calls to where it led before
}

// target is how a module of this process reaches another one: Here, at an
// address, or, for "", here if it runs here and else where the configuration
// says.
func (h *Host) target(from, to, address string) (rpc.Identity, grpc.ClientConnInterface, string, error) {
	var conn grpc.ClientConnInterface
	var identity rpc.Identity = rpc.Local{}
	callee := h.find(to)
	if address == "" {
		address = h.cfg.Topology.Peers[to]
		if callee != nil {
			address = Here
		}
	}
	if address != Here {
		p, err := h.links.peer(to, address)
		if err != nil {
			return nil, nil, "", err
		}
		conn, identity = p.Edge(from), h.links.self.Calls(to)
	} else {
		if callee == nil {
			return nil, nil, "", notHere(to)
		}
		conn = callee.channel
	}
	if h.o.Faults.Conn != nil {
		conn = h.o.Faults.Conn(from, to, conn)
	}
	return identity, conn, address, nil
}
