// Package trust is how processes that run modules know each other.
//
// A process has an X.509-SVID (SPIFFE, X509-SVID.md): a certificate whose URI names its trust domain and the modules that it runs.
// Both ends of a connection prove theirs with TLS 1.3; host names and addresses prove nothing. The end user of a call travels in a
// signed token that is good for one callee and a minute. See docs/adr/0010-services-trust-each-other.md.
package trust

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc/peer"

	"cleave/platform/fault"
)

const (
	gatewayPath = "/gateway"
	modulesPath = "/modules/"
)

// Peer is the process at the other end of a connection.
type Peer struct {
	ID      string   // its SPIFFE id
	Modules []string // that it runs; none in a gateway
}

// Runs reports whether the peer may speak for the module.
func (p Peer) Runs(module string) bool { return slices.Contains(p.Modules, module) }

// peerOf reads spiffe://DOMAIN/modules/NAME[/NAME...] and spiffe://DOMAIN/gateway.
func peerOf(id spiffeid.ID) (Peer, error) {
	p := Peer{ID: id.String()}
	if id.Path() == gatewayPath {
		return p, nil
	}
	names, ok := strings.CutPrefix(id.Path(), modulesPath)
	if !ok {
		return Peer{}, fmt.Errorf("the SPIFFE id %s is neither %s%sNAME[/NAME...] nor %[2]s%[4]s", id, id.TrustDomain().IDString(), modulesPath, gatewayPath)
	}
	for name := range strings.SplitSeq(names, "/") {
		if slices.Contains(p.Modules, name) {
			return Peer{}, fmt.Errorf("the SPIFFE id %s names the module %s twice", id, name)
		}
		p.Modules = append(p.Modules, name)
	}
	return p, nil
}

// Caller returns the process that sent the incoming call in ctx, and an Unauthenticated fault when the call did not come over a
// connection with ServerCredentials.
func Caller(ctx context.Context) (Peer, error) {
	if p, ok := peer.FromContext(ctx); ok {
		if info, ok := p.AuthInfo.(authInfo); ok {
			return info.peer, nil
		}
	}
	return Peer{}, fault.New(fault.Unauthenticated, "caller_unknown", "the calling process has not proven who it is")
}
