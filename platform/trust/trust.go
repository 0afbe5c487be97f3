// Package trust is how processes that run modules know each other.
//
// A process has an X.509-SVID (SPIFFE, X509-SVID.md): a certificate whose URI names its trust domain and the modules that it runs.
// Both ends of a connection prove theirs with TLS 1.3; host names and addresses prove nothing. The end user of a call travels in a
// signed token that is good for one callee and a minute. See docs/adr/0010-services-trust-each-other.md.
package trust

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc/peer"
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

// Caller returns the process that sent the incoming call in ctx, over a connection with ServerCredentials. It fails with an
// Unauthenticated fault, code caller_unknown, when that is not proven; with a Forbidden one, code caller_denied, for a service account
// that runs nothing; with Unavailable when its token cannot be checked.
func Caller(ctx context.Context) (Peer, error) {
	if p, ok := peer.FromContext(ctx); ok {
		switch info, ok := p.AuthInfo.(authInfo); {
		case ok && info.peer.ID != "":
			return info.peer, nil
		case ok && info.accounts != nil:
			return info.accounts.caller(ctx)
		}
	}
	return Peer{}, unknown(errors.New("the connection has not asked"))
}

// keyAt is the key of the certificate that the connection of an incoming call showed; nil without one.
func keyAt(ctx context.Context) *ecdsa.PublicKey {
	p, _ := peer.FromContext(ctx)
	info, _ := p.AuthInfo.(authInfo)
	return info.key
}
