package module

import (
	"context"
	"net/http"

	"google.golang.org/grpc"

	"cleave/platform/front"
	"cleave/platform/peer"
	"cleave/platform/rpc"
)

// instead is an edge to a module elsewhere that runs here as well, as it does while it moves: what cannot go there goes on here.
type instead struct {
	grpc.ClientConnInterface
	peer *peer.Peer
	here func() *rpc.Channel // nil when the module runs here no longer
}

// Invoke performs a call elsewhere, or here when nobody there has taken it, or it may be repeated and was lost.
func (i instead) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	if !i.peer.Serving() {
		if here := i.here(); here != nil {
			return here.Instead(ctx, method, args, reply)
		}
	}
	err := i.ClientConnInterface.Invoke(ctx, method, args, reply, opts...)
	if err != nil && i.peer.MayRepeat(method, err) {
		if here := i.here(); here != nil {
			return here.Instead(ctx, method, args, reply)
		}
	}
	return err
}

// orHere is conn, which leads to the module at an address, with the module here for what cannot go there, for as long as it runs here.
func (h *Host) orHere(conn grpc.ClientConnInterface, module, address string) (grpc.ClientConnInterface, error) {
	r := h.find(module)
	if r == nil || address == Here {
		return conn, nil
	}
	p, err := h.links.peer(module, address)
	return instead{conn, p, func() *rpc.Channel {
		if h.find(module) != r {
			return nil
		}
		return r.channel
	}}, err
}

// spareDoor returns the API with every module that runs here in this process, wherever their requests go: it answers those that reach no
// other process.
func (h *Host) spareDoor() (*door, error) {
	return h.newDoor(func(name string) string {
		if h.find(name) != nil {
			return Here
		}
		return h.requestsOf(name)
	})
}

// proxy sends requests for a module to p. If the module runs here as well, spare answers those that cannot go there.
func (h *Host) proxy(name string, p *peer.Peer, spare http.Handler) *front.Proxy {
	var conn grpc.ClientConnInterface = p
	if h.o.Faults.Front != nil {
		conn = h.o.Faults.Front(name, conn)
	}
	to := front.NewProxy(conn, h.o.Log)
	if spare != nil {
		to.Else(p.Serving, spare)
	}
	return to
}
