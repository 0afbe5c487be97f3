// Package api is the operators' side of the wire.
package api

import (
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"cleave/platform/ops/repair"
	"cleave/platform/policy"
	"cleave/platform/rest"
	"cleave/platform/traffic"
)

// Module is what the operations need of a module that this process runs.
type Module struct {
	repair.Module
	Cursors *rest.Cursors
	Rules   *policy.Store
}

// server implements the generated StrictServerInterface.
type server struct {
	modules map[string]Module
	edges   func() traffic.Snapshot
	host    Host
}

var _ StrictServerInterface = server{}

// Routes returns what registers the operations.
func Routes(modules map[string]Module, edges func() traffic.Snapshot, host Host, export gin.HandlerFunc) func(gin.IRouter) {
	handler := NewStrictHandlerWithOptions(server{modules: modules, edges: edges, host: host}, nil, StrictGinServerOptions{
		RequestErrorHandlerFunc:  rest.RequestError,
		HandlerErrorFunc:         rest.HandlerError,
		ResponseErrorHandlerFunc: rest.HandlerError,
	})
	return func(router gin.IRouter) {
		RegisterHandlersWithOptions(router, handler, GinServerOptions{
			ErrorHandler: func(c *gin.Context, err error, _ int) { rest.RequestError(c, err) },
		})
		router.GET("/api/v1/me/export", export)
	}
}

func (s server) module(name string) (Module, error) {
	m, ok := s.modules[name]
	if !ok {
		return m, rest.ModuleUnknown(name)
	}
	return m, nil
}

const defaultLimit = 20

func pageSize(l *Limit) int {
	if l == nil {
		return defaultLimit
	}
	return int(*l)
}

// position reads where a page begins: the zero value at the start. The parts of a key that is not one id are joined.
func (m Module) position(list, filter string, cursor *Cursor) (rest.Position, error) {
	if cursor == nil {
		return rest.Position{}, nil
	}
	return m.Cursors.Decode(list, filter, *cursor)
}

func (m Module) next(list, filter string, p rest.Position) *NextCursor {
	cursor := m.Cursors.Encode(list, filter, p)
	return &cursor
}

// between separates the parts of a position and of a filter: nothing that is stored can hold it.
const between = "\x00"

func join(parts ...string) string { return strings.Join(parts, between) }

func split(s string) (first, second string) {
	first, second, _ = strings.Cut(s, between)
	return first, second
}

// instant is the time in a filter's text, which is the same on all pages.
func instant(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

func outcome(o repair.Outcome) Outcome { return Outcome{Count: int64(o.Count), DryRun: o.DryRun} }
