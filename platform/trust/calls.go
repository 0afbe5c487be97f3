package trust

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"google.golang.org/grpc/metadata"

	"cleave/platform/auth"
	"cleave/platform/fault"
)

const (
	// tokenKey is the metadata with the caller's word for the user, and marker what rpc's own key says then.
	tokenKey = "cleave-call-token"
	marker   = "vouched"
	// keptTokens bounds the words that are remembered in each direction, at some 1.5 kB each.
	keptTokens = 4096
)

// Calls is the identity of calls to one module over connections with this process's credentials, at either end; see rpc.Identity. The
// caller's end needs CallCredentials, too: without them a call for a user is refused.
type Calls struct {
	*Identity
	callee string
}

// Calls returns the identity of calls to the module callee.
func (i *Identity) Calls(callee string) Calls { return Calls{i, callee} }

// Admit returns a Forbidden fault, code caller_denied, unless the certificate of the calling process lists the module caller.
func (c Calls) Admit(ctx context.Context, caller string) error {
	p, err := Caller(ctx)
	if err != nil {
		return err
	}
	if !p.Runs(caller) {
		return fault.New(fault.Forbidden, "caller_denied", "the process %s may not speak for the module %q", p.ID, caller)
	}
	return nil
}

// Encode only says that there is a user: CallCredentials add the word for them, because its key is that of the connection.
func (Calls) Encode(context.Context, auth.Principal) (string, error) { return marker, nil }

// Decode returns the principal for whom the calling process vouches. It refuses with an Unauthenticated fault, code
// call_token_invalid, what another process signed, what is for another module, what is too old, and a user without a word.
func (c Calls) Decode(ctx context.Context, text string) (auth.Principal, error) {
	from, err := Caller(ctx)
	if err != nil {
		return auth.Principal{}, err
	}
	words := metadata.ValueFromIncomingContext(ctx, tokenKey)
	if text != marker || len(words) != 1 {
		return auth.Principal{}, invalid(errors.New("there is not one word for the user"))
	}
	m, now := c.material(), c.now()
	if t, ok := m.checked.tokens.Get(words[0]); ok && t.caller == from.ID && t.callee == c.callee && now.Before(t.expires) {
		return t.principal, nil
	}
	t, err := m.check(words[0], sender{from, keyAt(ctx)}, c.callee, now)
	if err != nil {
		return auth.Principal{}, invalid(err)
	}
	m.checked.tokens.Add(words[0], t)
	return t.principal, nil
}

func invalid(cause error) error {
	return fault.New(fault.Unauthenticated, "call_token_invalid", "the calling process's word for the user is not valid").Wrap(cause)
}

type signedTokens = lru.Cache[[sha256.Size]byte, signedToken]

type signedToken struct {
	metadata map[string]string // under tokenKey
	renew    time.Time
}

func newSignedTokens() *signedTokens { return kept[[sha256.Size]byte, signedToken](keptTokens) }

// checkedTokens are the tokens that were valid, and the certificates that signed them.
type checkedTokens struct {
	tokens  *lru.Cache[string, checkedToken]
	signers *lru.Cache[string, proven] // by certificate; one per process that calls
}

type checkedToken struct {
	principal      auth.Principal
	caller, callee string
	expires        time.Time
}

func newCheckedTokens() *checkedTokens {
	return &checkedTokens{kept[string, checkedToken](keptTokens), kept[string, proven](256)}
}

func kept[K comparable, V any](n int) *lru.Cache[K, V] {
	c, err := lru.New[K, V](n)
	if err != nil {
		panic(err) // only a size below one fails
	}
	return c
}

// keyOf is different for any two principals and callees that differ.
func keyOf(callee string, p *auth.Principal) [sha256.Size]byte {
	b := make([]byte, 0, 512)
	for _, s := range [...]string{callee, p.Issuer, p.Subject, p.Session, p.Client, p.Actor, p.IssuerSubject} {
		b = appendString(b, s)
	}
	for _, list := range [...][]string{p.Roles, p.Scopes, p.Audience} {
		n := len(list)
		if list == nil {
			n = -1 // no scopes are everything, an empty list is nothing
		}
		b = binary.AppendVarint(b, int64(n))
		for _, s := range list {
			b = appendString(b, s)
		}
	}
	b = binary.AppendVarint(b, p.Generation)
	b = binary.AppendVarint(b, p.Expires.Unix())
	b = binary.AppendVarint(b, int64(p.Expires.Nanosecond()))
	return sha256.Sum256(b)
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}
