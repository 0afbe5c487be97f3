package rest

import (
	"context"
	"strings"

	"github.com/gin-gonic/gin"

	"cleave/platform/auth"
	"cleave/platform/fault"
)

// authorise returns ctx with the principal and the decision, as far as they are known on an error.
func (m *mounted) authorise(ctx context.Context, c *gin.Context, op *operation) (context.Context, error) {
	if op.public {
		return withClient(ctx, c), nil
	}
	token, err := bearer(c.Request.Header["Authorization"])
	if err != nil {
		return ctx, err
	}
	p, err := m.verifier.Verify(ctx, token)
	if err != nil {
		return ctx, err
	}
	d := m.api.o.Policy.Decide(p, op.permission)
	if op.owner == ownerSelf {
		d = min(d, auth.Own) // such an operation is about the caller, also when that is an administrator
	}
	ctx = auth.WithDecision(auth.With(ctx, p), d)
	if d == auth.Deny {
		return ctx, fault.New(fault.Forbidden, "permission_denied", "this needs the permission %s", op.permission)
	}
	if d == auth.Own && !op.ownedBy(c, p.Subject) {
		return ctx, fault.New(fault.Forbidden, "not_owner", "the permission %s is limited to what is your own", op.permission)
	}
	return ctx, nil
}

// ownedBy reports whether what the operation touches belongs to subject, or is left to the use case.
func (op *operation) ownedBy(c *gin.Context, subject string) bool {
	switch op.owner {
	case ownerSelf, ownerResource:
		return true
	case ownerNone:
		return false
	default:
		return subject != "" && c.Param(op.ownerParam) == subject
	}
}

// limit gives the request its time: RequestTimeout, or for an event stream until draining begins.
func (m *mounted) limit(ctx context.Context, op *operation) (context.Context, context.CancelFunc) {
	if !op.streams {
		return context.WithTimeout(ctx, m.api.o.RequestTimeout)
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(m.api.streams, cancel)
	return ctx, func() { stop(); cancel() }
}

var errNoToken = fault.New(fault.Unauthenticated, "token_missing", "send an access token as Authorization: Bearer TOKEN")

// bearer returns the token of the one Authorization header (RFC 6750 section 2.1).
func bearer(values []string) (string, error) {
	if len(values) == 0 {
		return "", errNoToken
	}
	scheme, token, ok := strings.Cut(values[0], " ")
	if len(values) > 1 || !ok || !strings.EqualFold(scheme, "Bearer") {
		return "", errNoToken
	}
	return strings.TrimLeft(token, " "), nil
}
