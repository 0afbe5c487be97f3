package rest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/gin-gonic/gin"
)

// grace is how much longer than a request may take this process waits for the
// one that answers it, so that the time limit is the other's to report.
const grace = 2 * time.Second

// Elsewhere answers requests by asking another process. Serve returns an error
// when it has written nothing. When the cause of the request's context becomes
// io.EOF, an answer under way ends as if it were complete.
type Elsewhere interface {
	Serve(w http.ResponseWriter, r *http.Request) error
}

// Away adds a module that another process runs: its operations and the paths of
// another standard. They are in the merged document like those of this process,
// and the other process authenticates, authorises, limits and validates. Call
// it before serving.
func (a *API) Away(name string, openapi []byte, paths []string, to Elsewhere) error {
	a.elsewhere[name] = to
	doc, err := a.o.Documents.load(name, openapi)
	if err != nil {
		return fmt.Errorf("module %s: %w", name, err)
	}
	err = registerRoutes(a.engine.Group("/"), func(r gin.IRouter) {
		for path, item := range doc.Paths.Map() {
			for method, o := range item.Operations() {
				pattern := ginPattern(path)
				r.Handle(method, pattern, a.handOver(to, streams(o)))
				// What it does is counted where it runs.
				a.operations[routeKey{method, pattern}] = observed{id: o.OperationID}
			}
		}
		for _, p := range paths {
			part := append(strings.Fields(p), "")
			r.Handle(part[0], part[1], a.handOver(to, false))
		}
	})
	if err != nil {
		return fmt.Errorf("module %s: %w", name, err)
	}
	a.documents[name] = doc
	return nil
}

// handOver lets the other process answer.
func (a *API) handOver(to Elsewhere, endless bool) gin.HandlerFunc {
	return func(c *gin.Context) {
		asIs(c)
		ctx, end := context.WithCancelCause(c.Request.Context())
		defer end(nil)
		if endless {
			defer context.AfterFunc(a.streams, func() { end(io.EOF) })() // the stream ends, and does not break off
		} else {
			limited, cancel := context.WithTimeout(ctx, a.o.RequestTimeout+grace)
			defer cancel()
			ctx = limited
		}
		r := c.Request.WithContext(ctx)
		r.Header[headerRequestID] = c.Writer.Header()[headerRequestID]
		err := to.Serve(c.Writer, r)
		if err == nil {
			return
		}
		if over := new(http.MaxBytesError); errors.As(err, &over) {
			err = tooLarge(over.Limit)
		}
		HandlerError(c, err)
		finish(c)
	}
}

// Reads are the paths of a document, as it writes them, whose GET answers whole.
func Reads(openapi []byte) (paths []string, err error) {
	doc, err := loadDocument(openapi)
	if err != nil {
		return nil, err
	}
	for path, item := range doc.Paths.Map() {
		if item.Get != nil && !streams(item.Get) {
			paths = append(paths, path)
		}
	}
	return paths, nil
}

func streams(o *openapi3.Operation) bool {
	ok := o.Responses.Status(http.StatusOK)
	return ok != nil && ok.Value.Content[eventStream] != nil
}
