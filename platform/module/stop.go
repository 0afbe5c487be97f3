package module

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"cleave/platform/fault"
	"cleave/platform/rest"
)

// Stop ends the process's work without failing a request: readiness goes off,
// answers close their connections, requests under way finish, then background
// work stops and databases close, dependants first. What is still running
// after http.shutdown_timeout is cut off, and Stop says so.
func (h *Host) Stop(ctx context.Context) error {
	var errs []error
	if h.server != nil {
		h.door.Load().api.Draining()
		h.links.draining()
		time.Sleep(h.cfg.HTTP.DrainDelay)
		ctx, cancel := context.WithTimeout(ctx, h.cfg.HTTP.ShutdownTimeout)
		if err := h.server.Shutdown(ctx); err != nil {
			errs = append(errs, fmt.Errorf("requests were cut off after http.shutdown_timeout: %w", errors.Join(err, h.server.Close())))
		}
		errs = append(errs, h.links.stopServing(ctx))
		cancel()
		h.server = nil
	}
	if h.scrapes != nil {
		errs = append(errs, h.scrapes.Close())
		h.scrapes = nil
	}
	if h.listener != nil {
		if err := h.listener.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	h.moving.Lock() // what is being moved, for a request that was cut off, gets there first
	defer h.moving.Unlock()
	if d := h.door.Load(); d != nil {
		d.tasks.stop()
	}
	h.tasks.stop()
	running := h.modules()
	for _, r := range slices.Backward(running) {
		r.tasks.stop()
	}
	if h.pipe != nil {
		errs = append(errs, h.pipe.Close())
		h.pipe = nil
	}
	errs = append(errs, h.links.close())
	h.links = nil
	for _, r := range slices.Backward(running) {
		errs = append(errs, r.db.Close())
	}
	h.placed.Lock()
	h.running, h.listener = nil, nil
	h.placed.Unlock()
	return errors.Join(errs...)
}

// ready reports whether every module's database answers. The event pipe is
// shown and not required: without it events wait in the outboxes.
func (h *Host) ready(ctx context.Context, verbose bool) (bool, []rest.Check) {
	ok, checks := true, []rest.Check(nil)
	for _, r := range h.modules() {
		err := r.db.Ping(ctx)
		ok = ok && err == nil
		checks = append(checks, rest.Check{Name: r.spec.Name + " database", Err: err})
	}
	if verbose {
		check := rest.Check{Name: "event pipe"}
		if err := h.pipe.Ping(ctx); err != nil {
			check.Err = fault.New(fault.Unavailable, "event_pipe_away", "the broker does not answer; events wait in the outboxes").Wrap(err)
		}
		checks = append(append(checks, check), h.checkPeers()...)
	}
	return ok, checks
}
