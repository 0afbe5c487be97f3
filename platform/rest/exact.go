package rest

import (
	"context"
	"errors"
	"log/slog"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/gin-gonic/gin"

	"cleave/platform/fault"
)

var responseOptions = &openapi3filter.Options{
	IncludeResponseStatus: true, MultiError: true, SchemaValidationOptions: []openapi3.SchemaValidationOption{formats},
}

// exactly is run with every response held against the document.
func (m *mounted) exactly(ctx context.Context, c *gin.Context, op *operation) {
	w := c.Writer
	b := newBuffer(w)
	c.Writer = b
	defer func() { c.Writer = w }() // also when the handler panics
	m.run(ctx, c, op)
	err := checkResponse(c, op, b)
	if err == nil {
		b.send()
		return
	}
	m.api.o.Log.LogAttrs(ctx, slog.LevelError, "the document does not describe this response",
		slog.String("operation", op.id), slog.Int("status", b.status), slog.String("body", b.body.String()), slog.String("cause", err.Error()))
	c.Writer = w
	f := fault.New(fault.Internal, "", "internal error").Wrap(err)
	HandlerError(c, f)
	writeProblem(c, answers[fault.Internal].status, f)
}

func checkResponse(c *gin.Context, op *operation, b *buffer) error {
	if r := op.route.Operation.Responses.Status(b.status); r != nil && len(r.Value.Content) == 0 && b.body.Len() > 0 {
		return errors.New("a body where none is described")
	}
	return openapi3filter.ValidateResponse(c.Request.Context(), (&openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: c.Request, Route: op.route, Options: responseOptions},
		Status:                 b.status,
		Header:                 b.header,
		Options:                responseOptions,
	}).SetBodyBytes(b.body.Bytes()))
}
