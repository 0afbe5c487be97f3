package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"

	"cleave/platform/db"
)

// Standard adds paths that another standard than the module's OpenAPI document describes, such as OAuth, all served by h. Each is
// written "METHOD /path [CLASS [FIELD]]" in gin's notation: the class limits its requests as x-rate-limit does, together with
// those of the operations, and the field of the form names the account as x-rate-limit-by does. They get what every request gets,
// a limit of the body and of the time included, but authenticate and answer as their standard says. Call it before serving.
func (a *API) Standard(module string, paths []string, d *db.DB, h http.Handler) error {
	if (len(paths) == 0) != (h == nil) {
		return fmt.Errorf("module %s must have both Spec.Paths and Parts.HTTP, or none", module)
	}
	if h == nil {
		return nil
	}
	limits := a.limitsOf(d)
	err := registerRoutes(a.engine.Group("/"), func(r gin.IRouter) {
		for _, p := range paths {
			part := append(strings.Fields(p), "", "")
			method, path, class, field := part[0], part[1], part[2], part[3]
			if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "/api/") || class != "" && !slices.Contains(limitClasses, class) {
				panic(errors.New("want \"METHOD /path [CLASS [FIELD]]\" outside /api, not " + p))
			}
			rates := limits.rates(&operation{limit: class})
			r.Handle(method, path, func(c *gin.Context) {
				ctx, cancel := context.WithTimeout(c.Request.Context(), a.o.RequestTimeout)
				defer cancel()
				c.Request = c.Request.WithContext(ctx)
				if err := rates.admitForm(c, field); err != nil {
					HandlerError(c, err)
					finish(c)
					return
				}
				h.ServeHTTP(c.Writer, c.Request)
			})
		}
	})
	if err != nil {
		return fmt.Errorf("the paths of module %s: %w", module, err)
	}
	return nil
}

// admitForm counts a request that is no operation against its sender's address and the account that a field of its form names.
func (r *rates) admitForm(c *gin.Context, field string) error {
	if err := r.admitAddress(c); err != nil || r == nil || r.identity == nil || field == "" {
		return err
	}
	if who := strings.ToLower(strings.TrimSpace(c.Request.PostFormValue(field))); who != "" {
		return r.admit(c, r.identity, "identity", who)
	}
	return nil
}

// limitsOf counts the requests of the module whose database d is; nil without limits.
func (a *API) limitsOf(d *db.DB) *limits {
	if len(a.o.Limits) == 0 {
		return nil
	}
	if l := a.limits[d]; l != nil {
		return l
	}
	store := newLimitStore(d)
	if store.db != nil {
		a.shared = append(a.shared, store)
	}
	a.limits[d] = newLimits(a.o.Limits, store)
	return a.limits[d]
}
