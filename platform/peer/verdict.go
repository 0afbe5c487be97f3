package peer

import (
	"context"
	"time"

	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"

	"cleave/platform/fault"
)

// When the far side is asked whether it fits, besides at each connection.
const (
	askTimeout   = 3 * time.Second
	askSoon      = time.Second      // after a connection, whose replica may not have served yet, and while it does not fit
	askRegularly = 10 * time.Second // its broker may have been away, or a proxy may lead elsewhere
)

// verdict is what Options.Check last said. It does not change: another one takes its place.
type verdict struct {
	decided  bool
	err      error         // why the far side does not fit
	replaced chan struct{} // closed when another verdict has taken its place
}

func (p *Peer) decide(decided bool, err error) {
	if old := p.verdict.Swap(&verdict{decided: decided, err: err, replaced: make(chan struct{})}); old != nil {
		close(old.replaced)
	}
}

// ask asks every replica that is connected, as far as round robin goes by them all, and returns after how long to ask again. One that
// does not answer, or does not know the question as older releases, changes nothing.
func (p *Peer) ask(ctx context.Context) time.Duration {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var refused error
	for range max(1, p.tracker.connected()) {
		err := p.o.Check(ctx, p.conn)
		if fault.CodeOf(err) == "peer_incompatible" {
			refused = err
		} else if err != nil && p.conn.GetState() == connectivity.Ready {
			p.o.Log.DebugContext(ctx, "a peer does not say whether it fits", "module", p.o.Module, "target", p.o.Target, "error", err)
			if now := p.verdict.Load(); refused == nil && now.decided {
				refused = now.err
			}
		}
	}
	p.decide(true, refused)
	if refused != nil {
		return askSoon
	}
	return askRegularly
}

// Incompatible is the error of a Check that has found that the far side does not fit, and why, in words that may be shown.
func Incompatible(format string, args ...any) error {
	return fault.New(fault.Unavailable, "peer_incompatible", format, args...)
}

// admit returns an Unavailable fault, code peer_incompatible, when the far side does not fit. It waits until that is known, unless there
// is no connection, of which grpc tells more.
func (p *Peer) admit(ctx context.Context) error {
	if p.o.Check == nil {
		return nil
	}
	for {
		v := p.verdict.Load()
		switch {
		case v.err != nil:
			return fault.New(fault.Unavailable, "peer_incompatible", "a module that is needed runs in a process that does not fit this one").Wrap(v.err)
		case v.decided, p.conn.GetState() == connectivity.TransientFailure:
			return nil
		}
		select {
		case <-v.replaced:
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		}
	}
}
