package peer

import (
	"context"
	"errors"

	"github.com/sony/gobreaker/v2"
	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"

	"cleave/platform/fault"
)

// Edge is a Peer as one module of this process calls it, with a bulkhead and a circuit breaker of its own: one module's trouble with
// the callee does not become another's.
type Edge struct {
	peer    *Peer
	caller  string
	slots   *semaphore.Weighted
	breaker *gobreaker.TwoStepCircuitBreaker[struct{}]
}

var _ grpc.ClientConnInterface = (*Edge)(nil)

// Edge returns the peer for the module caller, always the same one.
func (p *Peer) Edge(caller string) *Edge {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.edges {
		if e.caller == caller {
			return e
		}
	}
	log := p.o.Log.With("caller", caller, "module", p.o.Module)
	e := &Edge{peer: p, caller: caller, slots: semaphore.NewWeighted(int64(p.o.Limits.Concurrency))}
	e.breaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Timeout:      p.o.Limits.BreakFor,
		ReadyToTrip:  func(c gobreaker.Counts) bool { return int(c.ConsecutiveFailures) >= p.o.Limits.BreakAfter },
		IsSuccessful: func(err error) bool { return !lost(err) },
		IsExcluded: func(err error) bool {
			// Without any connection grpc refuses calls at once, and takes them again the moment that there is one.
			return status.Code(err) == codes.Canceled || lost(err) && p.conn.GetState() != connectivity.Ready
		},
		OnStateChange: func(_ string, from, to gobreaker.State) {
			log.Warn("circuit breaker of an edge", "from", from.String(), "to", to.String())
		},
	})
	p.edges = append(p.edges, e)
	return e
}

// Invoke performs a unary call on one replica. Besides what Peer.Invoke returns it refuses with Unavailable faults: code edge_full when
// as many calls are under way as may be, code edge_open while the circuit breaker is open.
func (e *Edge) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	if !e.slots.TryAcquire(1) {
		return fault.New(fault.Unavailable, "edge_full", "too many calls to a module that is needed are under way")
	}
	defer e.slots.Release(1)
	done, err := e.breaker.Allow()
	if err != nil {
		return fault.New(fault.Unavailable, "edge_open", "a module that is needed has not answered for some time").Wrap(err)
	}
	err = e.peer.Invoke(ctx, method, args, reply, opts...)
	done(err)
	return err
}

// NewStream opens a stream to one replica; neither bulkhead nor breaker knows of it.
func (e *Edge) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	return e.peer.NewStream(ctx, desc, method, opts...)
}

// MayRepeat reports whether a call of method that an Edge to p ended with err may be made again elsewhere: nobody was asked, or it was
// lost on the way and its contract says that repeating it changes nothing.
func (p *Peer) MayRepeat(method string, err error) bool {
	switch fault.CodeOf(err) {
	case "edge_full", "edge_open", "peer_incompatible":
		return true
	}
	return lost(err) && status.Code(err) == codes.Unavailable && p.repeatable[method]
}

// lost reports whether a call failed on the way or got no answer in time. A callee that answers, with whatever fault, puts it into the
// details of the status; see rpc.ServerInterceptor.
func lost(err error) bool {
	if err == nil {
		return false
	}
	var s interface{ GRPCStatus() *status.Status }
	if !errors.As(err, &s) {
		return errors.Is(err, context.DeadlineExceeded)
	}
	code := s.GRPCStatus().Code()
	return (code == codes.Unavailable || code == codes.DeadlineExceeded) && len(s.GRPCStatus().Proto().GetDetails()) == 0
}
