package module

import (
	"context"
	"fmt"

	"google.golang.org/grpc"

	"cleave/platform/fault"
	peerv1 "cleave/platform/peer/v1"
)

// reach waits until the module answers at an address and fits this process. If it runs here too, every replica there must be on the
// same database, which has the schema that the code at both ends needs. Otherwise it returns a Conflict fault that says what is wrong.
func (h *Host) reach(ctx context.Context, module, address string) error {
	p, err := h.links.peer(module, address)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	if err := p.Ready(ctx); fault.CodeOf(err) == "peer_incompatible" {
		return fault.New(fault.Conflict, "peer_incompatible", "the process at %s cannot be used: %s", address, fault.From(err).Message).Wrap(err)
	} else if err != nil {
		return fault.New(fault.Conflict, "module_away", "no process that runs the module %s can be reached at %s: %s", module, address, p.State().Error).Wrap(err)
	}
	r := h.find(module)
	if r == nil {
		return nil
	}
	return p.Each(ctx, func(ctx context.Context, addr string, conn grpc.ClientConnInterface) error {
		d, err := peerv1.NewPeerServiceClient(conn).Describe(ctx, &peerv1.DescribeRequest{Module: module})
		if err != nil {
			return fault.New(fault.Conflict, "module_away", "the process at %s does not say what it runs", addr).Wrap(err)
		}
		return h.mayReplace(r, d, addr)
	})
}

// mayReplace refuses a process with another database than that of the module here, or another schema than either code works with.
func (h *Host) mayReplace(r *running, d *peerv1.DescribeResponse, addr string) error {
	name := r.spec.Name
	own, err := schemaVersion(r.spec.Migrations)
	if err != nil {
		return err
	}
	takes := fmt.Sprintf("the process at %s cannot take the module %s over", addr, name)
	switch {
	case d.GetDatabase() != r.database:
		return fault.New(fault.Conflict, "database_differs", "%s: it uses another database than this process: set db.dsn and db.modules.%s alike", takes, name)
	case d.GetMigrated() < own:
		return fault.New(fault.Conflict, "schema_older", "%s: the schema of its database is version %d, and the release %q here needs %d: run `app migrate up`",
			takes, d.GetMigrated(), h.o.Version, own)
	case d.GetMigrated() > d.GetSchema():
		return fault.New(fault.Conflict, "schema_newer", "%s: the schema of its database is version %d, and the release %q there knows %d: start a newer release there",
			takes, d.GetMigrated(), d.GetVersion(), d.GetSchema())
	}
	return nil
}
