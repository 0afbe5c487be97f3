package rest

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"cleave/platform/fault"
)

const (
	livePath     = "/livez"
	readyPath    = "/readyz"
	readyTimeout = 2 * time.Second
)

// Check is one condition of readiness, such as a database that answers.
type Check struct {
	Name string
	Err  error // nil when it holds
}

func (a *API) routeHealth() {
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		a.engine.Handle(method, livePath, func(c *gin.Context) { c.String(http.StatusOK, "ok\n") })
		a.engine.Handle(method, readyPath, a.ready)
	}
}

// ready answers 200 when the process can serve, else 503, as text. With ?verbose it lists the checks,
// with the part of each failure that anyone may read.
func (a *API) ready(c *gin.Context) {
	ctx, cancel := context.WithTimeout(c.Request.Context(), readyTimeout)
	defer cancel()
	_, verbose := c.Request.URL.Query()["verbose"]
	ok, checks := true, []Check(nil)
	if a.o.Ready != nil {
		ok, checks = a.o.Ready(ctx, verbose)
	}
	if a.draining.Load() {
		ok = false
		checks = append(checks, Check{"serving", fault.New(fault.Unavailable, "draining", "the process is stopping")})
	}
	var b strings.Builder
	if verbose {
		for _, check := range checks {
			if check.Err == nil {
				b.WriteString("[+] " + check.Name + " ok\n")
				continue
			}
			b.WriteString("[-] " + check.Name + " failed: " + clean(fault.From(check.Err).Message, maxField) + "\n")
		}
	}
	if !ok {
		b.WriteString("not ready\n")
		c.Header("Retry-After", "1")
		c.String(http.StatusServiceUnavailable, b.String())
		return
	}
	b.WriteString("ready\n")
	c.String(http.StatusOK, b.String())
}
