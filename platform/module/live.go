package module

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"cleave/platform/audit"
	"cleave/platform/event/broker"
	"cleave/platform/fault"
	"cleave/platform/ops"
)

// How long a move may wait.
const leaveMargin = 2 * time.Second // longer than a request may take

// modules are those that run here now.
func (h *Host) modules() []*running {
	h.placed.RLock()
	defer h.placed.RUnlock()
	return slices.Clone(h.running)
}

// find returns the module if it runs here, else nil.
func (h *Host) find(name string) *running {
	h.placed.RLock()
	defer h.placed.RUnlock()
	for _, r := range h.running {
		if r.spec.Name == name {
			return r
		}
	}
	return nil
}

func (h *Host) spec(name string) (Spec, error) {
	for _, s := range h.specs {
		if s.Name == name {
			return s, nil
		}
	}
	return Spec{}, fault.New(fault.NotFound, "module_unknown", "there is no module %q", name)
}

// requestsOf is where clients' requests for a module go: Here, or an address.
func (h *Host) requestsOf(name string) string {
	h.placed.RLock()
	defer h.placed.RUnlock()
	if to := h.requests[name]; to != "" {
		return to
	}
	return Here
}

func (h *Host) edgeTo(e *placedEdge) string {
	h.placed.RLock()
	defer h.placed.RUnlock()
	return e.where
}

func notHere(module string) error {
	return fault.New(fault.Conflict, "module_not_here", "the module %s does not run in this process", module)
}

// Process describes where everything is, with a version that changes with each
// move.
func (h *Host) Process() (p ops.Process, version int64) {
	h.placed.RLock()
	defer h.placed.RUnlock()
	for _, s := range h.specs {
		m := ops.PlacedModule{Name: s.Name, Requests: Here}
		m.Runs = slices.ContainsFunc(h.running, func(r *running) bool { return r.spec.Name == s.Name })
		if to := h.requests[s.Name]; to != "" {
			m.Requests = to
		}
		p.Modules = append(p.Modules, m)
	}
	for _, r := range h.running {
		for _, e := range r.edges {
			stats := e.Stats()
			p.Edges = append(p.Edges, ops.PlacedEdge{Caller: e.from, Callee: e.to, Target: e.where, Calls: stats.Calls, Faults: stats.Faults})
		}
	}
	return p, h.version
}

// begin keeps other moves away until the function that it returns is called. It
// refuses when something has moved since version.
func (h *Host) begin(version int64) (end func(), err error) {
	end, err = h.moves()
	if err != nil {
		return nil, err
	}
	h.placed.RLock()
	defer h.placed.RUnlock()
	if h.version != version {
		end()
		return nil, fault.New(fault.Stale, "process_changed", "something has moved meanwhile: read again")
	}
	return end, nil
}

// moves keeps other moves away until the function that it returns is called.
func (h *Host) moves() (end func(), err error) {
	if !h.moving.TryLock() {
		return nil, fault.New(fault.Conflict, "moving", "something else is being moved in this process")
	}
	return h.moving.Unlock, nil
}

// place records a move.
func (h *Host) place(record func()) {
	h.placed.Lock()
	defer h.placed.Unlock()
	record()
	h.version++
}

// record writes what is about to be done into the module's audit log.
func (r *running) record(ctx context.Context, action, object string, detail map[string]string) error {
	return r.db.Tx(ctx, func(ctx context.Context) error {
		return r.env.Audit.Append(ctx, audit.Entry{Action: action, Object: object, Detail: detail})
	})
}

// SetModule makes a module run in this process or not, and clients' requests
// for it go to requests: Here, or an address. A module that stops hands its
// events and sagas over to another process that runs it, and finishes what it
// was asked before; the edges of this process must not lead to it any more.
func (h *Host) SetModule(ctx context.Context, name string, runs bool, requests string, version int64) error {
	ctx = context.WithoutCancel(ctx)
	end, err := h.begin(version)
	if err != nil {
		return err
	}
	defer end()
	spec, err := h.spec(name)
	if err != nil {
		return err
	}
	if err := h.mayMove(name, runs, requests); err != nil {
		return err
	}
	if requests != Here {
		if err := h.reach(ctx, name, requests); err != nil {
			return err
		}
	}
	r := h.find(name)
	detail := map[string]string{"runs": strconv.FormatBool(runs), "requests": requests}
	if r != nil {
		if err := r.record(ctx, "ops:process:write", "module/"+name, detail); err != nil {
			return err
		}
	} else if runs {
		if err := h.startModule(ctx, spec); err != nil {
			return err
		}
		if err := h.find(name).record(ctx, "ops:process:write", "module/"+name, detail); err != nil {
			return err
		}
	}
	if requests != h.requestsOf(name) || runs && r == nil {
		if err := h.moveRequests(ctx, name, requests); err != nil {
			return err
		}
	}
	if !runs && r != nil {
		return h.stopModule(ctx, r)
	}
	return nil
}

// mayMove refuses what would leave callers or events without the module.
func (h *Host) mayMove(name string, runs bool, requests string) error {
	if !runs && requests == Here {
		return fault.New(fault.Unprocessable, "requests_need_module", "requests cannot go to a module that does not run here: give the address of the process that runs it")
	}
	here := h.find(name) != nil
	if runs == here {
		return nil
	}
	if h.cfg.Events.Pipe == broker.InProcess {
		return fault.New(fault.Conflict, "pipe_in_process", "events.pipe is %s: events would not reach a module in another process", broker.InProcess)
	}
	if h.cfg.Database().Dialect() == "sqlite" {
		return fault.New(fault.Conflict, "database_of_one_process", "the databases are SQLite files, which one process alone may use: a module moves under traffic on Postgres only")
	}
	if runs {
		return h.links.mayRun(name)
	}
	for _, r := range h.modules() {
		for _, e := range r.edges {
			if e.to == name && h.edgeTo(e) == Here && r.spec.Name != name {
				return fault.New(fault.Conflict, "edge_leads_here", "the edge from %s to %s leads here: set it to where the module will be first", e.from, name)
			}
		}
	}
	return nil
}

// startModule adds a module to those that run here.
func (h *Host) startModule(ctx context.Context, s Spec) error {
	opened, err := h.open(ctx, []Spec{s})
	if err != nil {
		return err
	}
	r := opened[0]
	if err := h.wire(ctx, r); err != nil {
		return errors.Join(err, r.db.Close())
	}
	h.place(func() {
		at := slices.IndexFunc(h.running, func(other *running) bool { return h.rank(other.spec.Name) > h.rank(s.Name) })
		if at < 0 {
			at = len(h.running)
		}
		h.running = slices.Insert(h.running, at, r)
	})
	var started atomic.Bool
	failed := make(chan error, 1)
	r.tasks.fail = func(err error) { // what fails at once ends the module, and later the process
		select {
		case failed <- err:
		default:
		}
		if started.Load() {
			h.fail(err)
		}
	}
	h.runModule(r)
	if err := h.awaitSubscriptions(r.bus, failed); err != nil {
		r.tasks.stop()
		h.remove(r)
		return errors.Join(err, r.db.Close())
	}
	started.Store(true)
	h.offer(r)
	return nil
}

// remove takes a module out of those that run here.
func (h *Host) remove(r *running) {
	h.place(func() {
		h.running = slices.DeleteFunc(slices.Clone(h.running), func(other *running) bool { return other == r })
	})
}

// rank is the place of a module in dependency order.
func (h *Host) rank(name string) int {
	return slices.IndexFunc(h.specs, func(s Spec) bool { return s.Name == name })
}

// moveRequests opens a door for which a module is elsewhere than before.
func (h *Host) moveRequests(ctx context.Context, name, to string) error {
	before := h.requestsOf(name)
	h.place(func() { h.requests[name] = to })
	old, err := h.openDoor()
	if err != nil {
		h.place(func() { h.requests[name] = before })
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, h.cfg.HTTP.RequestTimeout+leaveMargin)
	defer cancel()
	if err := old.leave(ctx); err != nil {
		return fault.New(fault.Timeout, "", "new requests go to %s, and older ones are still under way", to).Wrap(err)
	}
	return nil
}

// stopModule ends a module that nothing in this process calls any more.
func (h *Host) stopModule(ctx context.Context, r *running) error {
	ctx, cancel := context.WithTimeout(ctx, h.cfg.HTTP.RequestTimeout+leaveMargin)
	defer cancel()
	for _, other := range h.modules() {
		for _, e := range other.edges {
			if e.to == r.spec.Name {
				if err := e.drained(ctx); err != nil {
					return fmt.Errorf("wait for the calls of %s: %w", e.from, err)
				}
			}
		}
	}
	if err := h.links.withdraw(ctx, r.spec.Name); err != nil {
		h.offer(r)
		return fmt.Errorf("wait for the calls of other processes: %w", err)
	}
	r.tasks.stop()
	h.remove(r)
	// The keys of an issuer that has gone are asked of where it is now.
	old, err := h.openDoor()
	if err == nil {
		err = old.leave(ctx)
	}
	return errors.Join(err, r.db.Close())
}
