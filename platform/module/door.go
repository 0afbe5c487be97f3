package module

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"

	"cleave/platform/auth"
	"cleave/platform/db"
	"cleave/platform/front"
	"cleave/platform/ops"
	"cleave/platform/ops/repair"
	opsv1 "cleave/platform/ops/v1"
	"cleave/platform/rest"
	"cleave/platform/rpc"
)

// door is the public API while the modules are where they are. When one moves,
// the process opens another door; requests end at the one through which they
// came.
type door struct {
	api     *rest.API
	handler http.Handler
	spare   *door        // see spareDoor; nil without a module that runs here and is asked elsewhere
	active  atomic.Int64 // requests
	tasks   tasks
}

// processPath is below which requests may open another door, which waits for
// all others.
const processPath = "/api/v1/admin/process"

// ServeHTTP answers a request to the API.
func (h *Host) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d := h.door.Load()
	if strings.HasPrefix(r.URL.Path, processPath) {
		d.handler.ServeHTTP(w, r)
		return
	}
	for {
		d.active.Add(1)
		now := h.door.Load()
		if now == d {
			break
		}
		d.active.Add(-1) // whoever replaced it may not have seen this request
		d = now
	}
	defer d.active.Add(-1)
	if c := h.comparing.Load(); c != nil {
		c.serve(d.handler, w, r)
		return
	}
	d.handler.ServeHTTP(w, r)
}

// openDoor makes an API for the modules as they are now the one that requests
// come to, and returns the one before, nil at first.
func (h *Host) openDoor() (before *door, err error) {
	d, err := h.newDoor(h.requestsOf)
	if err != nil {
		return nil, err
	}
	d.tasks.start("rate limits", d.api.ShareLimits)
	return h.door.Swap(d), nil
}

// newDoor returns an API that sends the requests for each module where they go
// to by requests.
func (h *Host) newDoor(requests func(module string) string) (*door, error) {
	keys, err := h.issuerKeys()
	if err != nil {
		return nil, err
	}
	api := rest.New(rest.Options{
		Verifier: func(audience string) *auth.Verifier {
			v := auth.NewVerifier(keys, h.cfg.Auth.Issuer, audience, h.revoked, h.o.Now)
			v.Trust(h.issuers)
			return v
		},
		Limits: h.limits(), TrustedProxies: h.cfg.HTTP.TrustedProxies, CORSOrigins: h.cfg.HTTP.CORSOrigins,
		HTTPS:  strings.HasPrefix(h.cfg.BaseURL(""), "https://") || h.cfg.HTTP.TLSCert != "",
		Policy: h.policy, Log: h.o.Log, MaxBody: h.cfg.HTTP.MaxBody, RequestTimeout: h.cfg.HTTP.RequestTimeout,
		Now: h.o.Now, Version: h.o.Version, Ready: h.ready, Exact: h.o.Exact, Traced: h.cfg.Trace.Exporter != "none",
		Observer: h.metrics, Traffic: h.traffic, Metrics: h.publicMetrics(), Documents: &h.documents,
	})
	d := &door{api: api, tasks: tasks{fail: h.fail}}
	var spare http.Handler
	if slices.ContainsFunc(h.modules(), func(r *running) bool { return requests(r.spec.Name) != Here }) {
		if d.spare, err = h.spareDoor(); err != nil {
			return nil, err
		}
		spare = d.spare.handler
	}
	for _, s := range h.specs {
		if err := h.mount(api, s, requests(s.Name), spare); err != nil {
			return nil, err
		}
	}
	if err := h.mountOps(api); err != nil {
		return nil, err
	}
	d.handler = api.Handler()
	return d, nil
}

// mount adds one module to the API. When it runs here but its requests go elsewhere, spare answers those that cannot go there.
func (h *Host) mount(api *rest.API, s Spec, address string, spare http.Handler) error {
	r := h.find(s.Name)
	if r == nil || address != Here {
		p, err := h.links.peer(s.Name, address)
		if err != nil {
			return err
		}
		if s.OpenAPI == nil {
			return nil
		}
		if r == nil {
			spare = nil
		}
		return api.Away(s.Name, s.OpenAPI, s.Paths, h.proxy(s.Name, p, spare))
	}
	if err := api.Standard(s.Name, s.Paths, r.db, r.parts.HTTP); err != nil {
		return err
	}
	if r.parts.REST == nil {
		return nil
	}
	return api.Module(s.Name, s.OpenAPI, r.db, r.parts.REST)
}

// mountOps adds the operators' API of all modules that run here.
func (h *Host) mountOps(api *rest.API) error {
	modules, databases := map[string]ops.Module{}, map[string]*db.DB{}
	for _, r := range h.modules() {
		if h.requestsOf(r.spec.Name) != Here {
			continue
		}
		databases[r.spec.Name] = r.db
		modules[r.spec.Name] = ops.Module{Module: repair.Module{DB: r.db, Audit: r.env.Audit}, Cursors: r.env.Cursors, Rules: r.rules}
	}
	return api.Platform(ops.Name, opsv1.OpenAPI, databases, ops.Routes(modules, h.snapshot, h, api.Personal))
}

// issuerKeys are the keys that verify tokens.
func (h *Host) issuerKeys() (auth.KeySource, error) {
	var keys auth.KeySource
	for _, s := range h.specs {
		var own auth.KeySource
		if r := h.find(s.Name); r != nil {
			own = r.parts.Keys
		} else if s.Keys != "" {
			p, err := h.links.peer(s.Name, h.requestsOf(s.Name))
			if err != nil {
				return nil, err
			}
			own = front.NewKeys(p, s.Keys)
		}
		if own != nil && keys != nil {
			return nil, errors.New("two modules issue tokens: only one may set Parts.Keys")
		}
		if own != nil {
			keys = own
		}
	}
	if keys == nil {
		return nil, errors.New("no module issues tokens: one must set Parts.Keys")
	}
	return keys, nil
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

// leave ends the event streams that came through d, whose clients come back
// through the door that is open now, and waits for the requests under way.
func (d *door) leave(ctx context.Context) error {
	d.tasks.stop()
	d.api.EndStreams()
	if d.spare != nil {
		d.spare.api.EndStreams()
	}
	return rpc.Drained(ctx, &d.active)
}
