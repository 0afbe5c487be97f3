package trust

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc/metadata"

	"cleave/platform/fault"
)

// accountMemory is how long a service-account token counts without a look at its issuer's keys.
const accountMemory = time.Minute

// subject is what Kubernetes calls a service account in its tokens; names as in RFC 1123 section 2.1.
var subject = regexp.MustCompile(`^system:serviceaccount:[a-z0-9]([a-z0-9-]*[a-z0-9])?:[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`)

// Accounts are the Kubernetes service accounts whose tokens prove a process in place of a client certificate.
type Accounts struct {
	// Verify returns whose token it is, a key of Modules if it is to be let in, and when it expires. It must refuse one that is not for
	// the audience. Its errors are faults, Unavailable while it cannot tell.
	Verify func(ctx context.Context, audience, token string) (account string, expires time.Time, err error)
	// Modules are those that an account's processes run, in the order of their SPIFFE id, by system:serviceaccount:NAMESPACE:NAME. One
	// with none is a gateway's.
	Modules map[string][]string
}

type accounts struct {
	verify    func(ctx context.Context, audience, token string) (string, time.Time, error)
	peers     map[string]Peer
	audiences []string // the modules of this process
	now       func() time.Time
	known     *lru.Cache[string, knownToken]
}

type knownToken struct {
	peer  Peer
	until time.Time
}

// Accept lets connections without a client certificate in whose calls each bring a service-account token for a module of this process.
// Such an account proves the SPIFFE id of the modules that it runs. Call it before ServerCredentials.
func (i *Identity) Accept(a Accounts) error {
	c := &accounts{verify: a.Verify, peers: map[string]Peer{}, audiences: i.self.Modules, now: i.now, known: kept[string, knownToken](keptTokens)}
	var errs []error
	for account, modules := range a.Modules {
		if !subject.MatchString(account) {
			errs = append(errs, fmt.Errorf("service account %q: want system:serviceaccount:NAMESPACE:NAME", account))
			continue
		}
		path := []string{"gateway"}
		if len(modules) > 0 {
			path = append([]string{"modules"}, modules...)
		}
		id, err := spiffeid.FromSegments(i.material().id.TrustDomain(), path...)
		if err == nil {
			c.peers[account], err = peerOf(id)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("service account %q: %w", account, err))
		}
	}
	i.accounts = c
	return errors.Join(errs...)
}

// caller returns the process whose service account sent the call in ctx.
func (a *accounts) caller(ctx context.Context) (Peer, error) {
	token, ok := bearer(ctx)
	if !ok {
		return Peer{}, unknown(errors.New("neither a client certificate nor a service-account token"))
	}
	now := a.now()
	if k, ok := a.known.Get(token); ok && now.Before(k.until) {
		return k.peer, nil
	}
	audience, err := a.audience(token)
	if err != nil {
		return Peer{}, unknown(err)
	}
	account, expires, err := a.verify(ctx, audience, token)
	switch {
	case fault.KindOf(err) == fault.Unavailable:
		return Peer{}, err
	case err != nil:
		return Peer{}, unknown(err)
	}
	from, ok := a.peers[account]
	if !ok {
		return Peer{}, fault.New(fault.Forbidden, "caller_denied", "the service account %q runs no module", account)
	}
	until := now.Add(accountMemory)
	if expires.Before(until) {
		until = expires
	}
	a.known.Add(token, knownToken{from, until})
	return from, nil
}

// audience returns which module of this process the token says it is for; verify then holds it to that.
func (a *accounts) audience(token string) (string, error) {
	if len(token) > maxTokenLen {
		return "", fmt.Errorf("longer than %d bytes", maxTokenLen)
	}
	var c jwt.RegisteredClaims
	if _, _, err := jwt.NewParser().ParseUnverified(token, &c); err != nil {
		return "", err
	}
	for _, module := range a.audiences {
		if slices.Contains(c.Audience, module) {
			return module, nil
		}
	}
	return "", fmt.Errorf("the token is for %q, and this process runs %q", c.Audience, a.audiences)
}

// bearer returns the token of a call (RFC 6750 section 2.1), false unless there is exactly one.
func bearer(ctx context.Context) (string, bool) {
	values := metadata.ValueFromIncomingContext(ctx, "authorization")
	if len(values) != 1 {
		return "", false
	}
	scheme, token, ok := strings.Cut(values[0], " ")
	return token, ok && strings.EqualFold(scheme, "bearer")
}

func unknown(cause error) error {
	return fault.New(fault.Unauthenticated, "caller_unknown", "the calling process has not proven who it is").Wrap(cause)
}
