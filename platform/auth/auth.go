// Package auth says who a request comes from and what it may do.
//
// A Signer issues ES256 access tokens (RFC 9068), a Verifier checks them once and
// remembers the outcome until they expire, and a Policy decides by permission name
// with Casbin. Everything denies by default: no principal, an unknown role, an
// unknown permission and a missing decision all mean no.
package auth

import (
	"context"
	"time"
)

// Principal is the authenticated user or client of a request. Who it is, is the pair of Issuer and
// Subject (OpenID Connect Core section 5.7): a subject means nothing without its issuer, and an e-mail
// address never identifies.
type Principal struct {
	Issuer     string    // set by the verifier; a signer uses its own
	Subject    string    // the user's id; never reused, and unlike those of any other issuer (see SubjectOf)
	Session    string    // the login the token descends from; "" for a client of its own
	Client     string    // the OAuth client that the token was issued to
	Generation int64     // the subject's state that the token speaks of; see Revocation
	Roles      []string  // shared with the verifier's cache, as Scopes is: read only
	Scopes     []string  // what the subject has consented to; nil: everything
	Audience   []string  // whom the token is for
	Expires    time.Time // of the token; set by the verifier, without the leeway
	Actor      string    // who acts for the subject (RFC 8693 section 4.1); "" for itself

	// IssuerSubject is what an outside issuer calls the subject; "" when the issuer is ours. It is for people to read: Subject identifies.
	IssuerSubject string
}

// Service is whom a module acts as on its own, in its event handlers. Without a decision it owns nothing: a handler's use case is
// one that asks nobody's permission, because its module subscribes to the event.
func Service(module string) Principal {
	return Principal{Issuer: "system", Subject: "service:" + module, Roles: []string{RoleService}, Scopes: []string{module}}
}

// Decision is what a policy allows a principal with one permission.
type Decision uint8

// The decisions, from nothing to everything.
const (
	Deny Decision = iota
	Own           // only on what belongs to the principal
	Any           // on everyone's
)

// String is the scope's name in a policy file; Deny and unknown values read as "deny".
func (d Decision) String() string {
	switch d {
	case Own:
		return scopeOwn
	case Any:
		return scopeAny
	default:
		return "deny"
	}
}

type (
	principalKey struct{}
	decisionKey  struct{}
)

// With returns a context that carries p.
func With(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

// From returns the context's principal; false when the request is anonymous.
func From(ctx context.Context) (Principal, bool) {
	p, ok := ctx.Value(principalKey{}).(Principal)
	return p, ok
}

// Pass returns ctx with the principal that the other context carries, if any.
func Pass(ctx, from context.Context) context.Context {
	if p := from.Value(principalKey{}); p != nil {
		return context.WithValue(ctx, principalKey{}, p) // as With, without a second copy
	}
	return ctx
}

// WithDecision returns a context that carries the decision on the current operation.
func WithDecision(ctx context.Context, d Decision) context.Context {
	return context.WithValue(ctx, decisionKey{}, d)
}

// Owner tells a use case whose things the current operation may touch: everyone's
// when anyone is true, else only those of subject. Without a principal or without a
// decision in ctx it returns "" and false; no thing belongs to the empty subject.
func Owner(ctx context.Context) (subject string, anyone bool) {
	d, _ := ctx.Value(decisionKey{}).(Decision)
	p, ok := From(ctx)
	if !ok || d == Deny {
		return "", false
	}
	return p.Subject, d == Any
}
