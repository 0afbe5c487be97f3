package rest

import (
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/gin-gonic/gin"

	"cleave/platform/traffic"
)

const metricsPath = "/metrics"

// Observer learns of every request how it was answered. Route and operation come from the documents and are "" for a
// path that nothing serves.
type Observer interface {
	Requested(method, route, operation string, status int, took time.Duration)
}

type routeKey struct{ method, path string }

// observed is an operation as its requests are counted.
type observed struct {
	id     string
	source *traffic.Source
}

func (a *API) observed(c *gin.Context) observed {
	return a.operations[routeKey{c.Request.Method, c.FullPath()}]
}

// observe reports a request that has been answered.
func (a *API) observe(c *gin.Context, op observed, took time.Duration) {
	op.source.Ran(took, int(c.Request.ContentLength), c.Writer.Size())
	if a.o.Observer == nil {
		return
	}
	a.o.Observer.Requested(c.Request.Method, c.FullPath(), op.id, c.Writer.Status(), took)
}

// routeMetrics serves the metrics to who asks on this machine, and to nobody else: they tell of load, versions and names.
func (a *API) routeMetrics() {
	if a.o.Metrics == nil {
		return
	}
	a.engine.GET(metricsPath, func(c *gin.Context) {
		if !local(c.Request) {
			noRoute(c)
			return
		}
		a.o.Metrics.ServeHTTP(c.Writer, c.Request)
	})
}

// forwarding are the headers by which a proxy says that it speaks for another.
var forwarding = []string{"Forwarded", headerForwarded, "X-Forwarded-Host", "X-Real-Ip", "Via"}

// local reports whether a request comes from this machine, for this machine and not through a proxy. The Host keeps out
// pages in a browser whose name was made to resolve to the loopback address.
func local(r *http.Request) bool {
	for _, h := range forwarding {
		if len(r.Header[h]) > 0 {
			return false
		}
	}
	return loopback(r.RemoteAddr) && loopback(r.Host)
}

func loopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
