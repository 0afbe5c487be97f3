// Package fault defines the one error type that crosses Cleave's boundaries.
//
// A fault has a kind, which decides the HTTP status and the gRPC code, a stable
// machine code, and a message that the far side may read. Its cause stays on the
// near side: it is logged where the fault leaves the process and never sent.
package fault

import (
	"context"
	"errors"
	"fmt"
)

// Kind classifies a fault by what its receiver can do about it.
type Kind uint8

// The kinds. The zero value is Internal, so that an error nobody classified is
// never mistaken for one that the caller caused.
const (
	Internal             Kind = iota // a defect or a broken dependency; retrying may help
	Invalid                          // the request can never succeed as it stands
	Unauthenticated                  // no principal, or one that is no longer valid
	Forbidden                        // the principal may not do this
	NotFound                         // no such thing, or none that the principal may know of
	Conflict                         // the thing's present state forbids it
	Stale                            // the caller's version is not the current one
	TooLarge                         // the request exceeds a size limit
	Unsupported                      // the media type is not accepted
	Unprocessable                    // well-formed, but a business rule refuses it
	PreconditionRequired             // a conditional header is missing
	Exhausted                        // a rate or quota is used up; retry later
	Unavailable                      // a dependency is down; retry later
	Timeout                          // the deadline passed
	Canceled                         // the caller gave up
)

var kindNames = [...]string{
	"internal", "invalid", "unauthenticated", "forbidden", "not_found", "conflict", "stale", "too_large", "unsupported",
	"unprocessable", "precondition_required", "exhausted", "unavailable", "timeout", "canceled",
}

// String is the kind's snake_case name; unknown kinds read as internal.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return kindNames[Internal]
}

// ParseKind is the inverse of String; an unknown name is Internal.
func ParseKind(s string) Kind {
	for i, n := range kindNames {
		if n == s {
			return Kind(i)
		}
	}
	return Internal
}

// Temporary reports whether the same request may succeed later without change.
func (k Kind) Temporary() bool {
	switch k {
	case Internal, Exhausted, Unavailable, Timeout, Canceled:
		return true
	default:
		return false
	}
}

// Field is a fault in one part of a request.
type Field struct {
	Path    string // JSON pointer (RFC 6901) or parameter name
	Code    string // snake_case
	Message string
}

// Error is a fault. Compare with errors.Is against another *Error to test for
// the same kind and code.
type Error struct {
	Kind    Kind
	Code    string // stable, snake_case; defaults to the kind's name
	Message string // safe to show to the caller
	Fields  []Field
	cause   error
}

// New returns a fault. An empty code means the kind's name.
func New(kind Kind, code, format string, args ...any) *Error {
	if code == "" {
		code = kind.String()
	}
	return &Error{Kind: kind, Code: code, Message: fmt.Sprintf(format, args...)}
}

// With returns a copy that also names the given fields.
func (e *Error) With(fields ...Field) *Error {
	c := *e
	c.Fields = append(append([]Field(nil), e.Fields...), fields...)
	return &c
}

// Wrap returns a copy whose cause is err. The cause is for this process's log.
func (e *Error) Wrap(err error) *Error {
	c := *e
	c.cause = err
	return &c
}

// Error includes the cause; use Message for what may be sent.
func (e *Error) Error() string {
	if e.cause != nil {
		return e.Message + ": " + e.cause.Error()
	}
	return e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.cause }

// Is reports whether target is a fault of the same kind and code.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Kind == e.Kind && t.Code == e.Code
}

// From returns the fault in err's chain. A context error becomes Timeout or
// Canceled, and anything else an Internal fault that keeps err as its cause
// and shows none of its text. From(nil) is nil.
func From(err error) *Error {
	if err == nil {
		return nil
	}
	var f *Error
	switch {
	case errors.As(err, &f):
		return f
	case errors.Is(err, context.DeadlineExceeded):
		return New(Timeout, "", "the deadline passed before the work was done").Wrap(err)
	case errors.Is(err, context.Canceled):
		return New(Canceled, "", "the caller gave up").Wrap(err)
	default:
		return New(Internal, "", "internal error").Wrap(err)
	}
}

// KindOf is From(err).Kind.
func KindOf(err error) Kind {
	if f := From(err); f != nil {
		return f.Kind
	}
	return Internal
}

// CodeOf is From(err).Code, and "" for nil.
func CodeOf(err error) string {
	if f := From(err); f != nil {
		return f.Code
	}
	return ""
}
