package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"
)

// Standard adds paths that another standard than the module's OpenAPI document describes, such as OAuth: each is a method and a
// path in gin's notation, as "GET /path", and all are served by h. They get what every request gets, a limit of the body and of
// the time included, but authenticate and answer as their standard says. Call it before serving.
func (a *API) Standard(module string, paths []string, h http.Handler) error {
	if (len(paths) == 0) != (h == nil) {
		return fmt.Errorf("module %s must have both Spec.Paths and Parts.HTTP, or none", module)
	}
	err := registerRoutes(a.engine.Group("/"), func(r gin.IRouter) {
		for _, p := range paths {
			method, path, ok := strings.Cut(p, " ")
			if !ok || !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "/api/") {
				panic(errors.New("want \"METHOD /path\" outside /api, not " + p))
			}
			r.Handle(method, path, func(c *gin.Context) {
				ctx, cancel := context.WithTimeout(c.Request.Context(), a.o.RequestTimeout)
				defer cancel()
				h.ServeHTTP(c.Writer, c.Request.WithContext(ctx))
			})
		}
	})
	if err != nil {
		return fmt.Errorf("the paths of module %s: %w", module, err)
	}
	return nil
}
