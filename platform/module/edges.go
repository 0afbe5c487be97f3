package module

import (
	"context"

	"cleave/platform/fault"
	"cleave/platform/rpc"
)

// SetEdge makes the calls of one module that runs here to another one go to
// target: Here, or an address. Calls under way end where they began, and
// SetEdge returns when they have.
func (h *Host) SetEdge(ctx context.Context, caller, callee, target string, version int64) error {
	ctx = context.WithoutCancel(ctx) // a client that gives up does not leave half a move behind
	end, err := h.begin(version)
	if err != nil {
		return err
	}
	defer end()
	r, e, err := h.edge(caller, callee)
	if err != nil {
		return err
	}
	if target != Here {
		if err := h.reach(ctx, callee, target); err != nil {
			return err
		}
	}
	identity, conn, where, err := h.target(caller, callee, target)
	if err != nil {
		return err
	}
	if conn, err = h.orHere(conn, callee, where); err != nil {
		return err
	}
	if err := r.record(ctx, "ops:process:write", "edge/"+caller+"/"+callee, map[string]string{"from": h.edgeTo(e), "to": where}); err != nil {
		return err
	}
	wait := e.Switch(identity, conn)
	h.place(func() { e.where, e.left = where, append(e.left, wait) })
	if err := e.drained(ctx); err != nil {
		return fault.New(fault.Timeout, "", "new calls go to %s, and calls to where the edge led before are still under way", where).Wrap(err)
	}
	return nil
}

// edge finds an edge of a module that runs here.
func (h *Host) edge(caller, callee string) (*running, *placedEdge, error) {
	r := h.find(caller)
	if r == nil {
		return nil, nil, notHere(caller)
	}
	for _, e := range r.edges {
		if e.to == callee {
			return r, e, nil
		}
	}
	return nil, nil, fault.New(fault.NotFound, "edge_unknown", "the Uses of the module %s does not name %s", caller, callee)
}

// drained waits for the calls to where the edge led before.
func (e *placedEdge) drained(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, rpc.DefaultTimeout+leaveMargin)
	defer cancel()
	for _, wait := range e.left {
		if err := wait(ctx); err != nil {
			return err
		}
	}
	e.left = nil
	return nil
}
