// Package front lets any process take requests for all modules: those for a
// module that runs elsewhere go to it over the same connection as calls between
// modules, and the answers come back as they are written.
//
// Proxy is the half that takes requests from clients, Server the half that has
// the module. What a client sends and gets does not depend on which process it
// talks to.
package front

import (
	"context"
	"net/http"
	"slices"

	frontv1 "cleave/platform/front/v1"
)

// chunk is the most bytes of a body in one message; gRPC's own limit is 4 MiB.
const chunk = 32 << 10

type servedKey struct{}

// Handed reports whether a request came from another process, which means that
// it must not be handed on: the two would send it back and forth.
func Handed(ctx context.Context) bool { return ctx.Value(servedKey{}) != nil }

func toHeaders(h http.Header) []*frontv1.Header {
	out := make([]*frontv1.Header, 0, len(h))
	for name, values := range h {
		v := make([][]byte, len(values))
		for i := range values {
			v[i] = []byte(values[i])
		}
		out = append(out, &frontv1.Header{Name: name, Values: v})
	}
	return out
}

func fromHeaders(headers []*frontv1.Header) http.Header {
	out := make(http.Header, len(headers))
	for _, h := range headers {
		values := make([]string, len(h.GetValues()))
		for i, v := range h.GetValues() {
			values[i] = string(v)
		}
		out[http.CanonicalHeaderKey(h.GetName())] = values
	}
	return out
}

// body reads what comes in messages; next returns the bytes of the next one.
type body struct {
	rest []byte
	next func() ([]byte, error)
	end  func()
}

func (b *body) Read(p []byte) (int, error) {
	for len(b.rest) == 0 {
		var err error
		if b.rest, err = b.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

func (b *body) Close() error {
	if b.end != nil {
		b.end()
	}
	return nil
}

// idempotent reports whether a request may be sent again when it is unknown
// whether it took effect (RFC 9110 section 9.2.2). PUT and DELETE are not among
// them: they carry If-Match, and the second one would be told that it is late.
func idempotent(r *http.Request) bool {
	return slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodOptions}, r.Method) || r.Header.Get("Idempotency-Key") != ""
}
