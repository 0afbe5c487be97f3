package rest

import (
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"cleave/platform/auth"
	"cleave/platform/fault"
	"cleave/platform/telemetry"
	"cleave/platform/traffic"
)

const (
	headerRequestID = "X-Request-Id"
	headerForwarded = "X-Forwarded-For"
	maxRequestID    = 128
)

// securityHeaders suit answers that are data, never documents of a browser (OWASP REST Security
// Cheat Sheet). X-Frame-Options is not among them: frame-ancestors has replaced it (ASVS 5.0 V3.4.6).
// The slices are shared by all responses and never written to.
var securityHeaders = []struct {
	name  string
	value []string
}{
	{"Cache-Control", []string{"no-store"}},
	{"Content-Security-Policy", []string{"default-src 'none'; frame-ancestors 'none'"}},
	{"Cross-Origin-Resource-Policy", []string{"same-origin"}},
	{"Referrer-Policy", []string{"no-referrer"}},
	{"X-Content-Type-Options", []string{"nosniff"}},
}

// onlyHTTPS holds for a year (RFC 6797; ASVS 5.0 V3.4.1).
var onlyHTTPS = []string{"max-age=31536000; includeSubDomains"}

// edge is the outermost middleware: what every request gets, and the one place that logs it.
func (a *API) edge(c *gin.Context) {
	began := time.Now()
	id := c.GetHeader(headerRequestID)
	if !saneRequestID(id) {
		id = uuid.NewString()
	}
	// Lines of one header make one list (RFC 9110 section 5.3). gin looks at the first only, which a client can forge before a proxy adds its own.
	if lines := c.Request.Header.Values(headerForwarded); len(lines) > 1 {
		c.Request.Header.Set(headerForwarded, strings.Join(lines, ", "))
	}
	endSpan := a.span(c)
	op := a.observed(c)
	c.Request = c.Request.WithContext(traffic.With(telemetry.WithRequest(c.Request.Context(), id, a.peer(c)), op.source))
	if c.Request.Body != nil && c.Request.Body != http.NoBody {
		c.Request.Body = http.MaxBytesReader(c.Writer, c.Request.Body, a.o.MaxBody)
	}
	h := c.Writer.Header()
	for i := range securityHeaders {
		h[securityHeaders[i].name] = securityHeaders[i].value
	}
	h[headerRequestID] = []string{id}
	if a.o.HTTPS {
		h["Strict-Transport-Security"] = onlyHTTPS
	}
	if a.draining.Load() {
		h.Set("Connection", "close")
	}
	defer endSpan()
	defer a.access(c, op, began)
	defer a.caught(c)
	c.Next()
}

// peer is the address that the request comes from, as far as trusted proxies tell.
func (a *API) peer(c *gin.Context) string {
	if len(a.o.TrustedProxies) == 0 {
		return c.Request.RemoteAddr
	}
	return c.ClientIP()
}

// caught turns a panic below into a 500, except the one that net/http defines to end a response.
func (a *API) caught(c *gin.Context) {
	v := recover()
	if v == nil {
		return
	}
	if v == http.ErrAbortHandler { //nolint:errorlint // the value itself is the signal
		panic(v)
	}
	f := fault.New(fault.Internal, "", "internal error").Wrap(fmt.Errorf("panic: %v\n%s", v, debug.Stack()))
	HandlerError(c, f)
	if !c.Writer.Written() {
		writeProblem(c, http.StatusInternalServerError, f)
	}
}

// access writes the request's line in the log: the only one, so it holds the cause of a 5xx.
func (a *API) access(c *gin.Context, op observed, began time.Time) {
	took := time.Since(began)
	a.observe(c, op, took)
	ctx := c.Request.Context()
	status, route := c.Writer.Status(), c.FullPath()
	level := slog.LevelInfo
	switch {
	case status >= http.StatusInternalServerError && status != http.StatusServiceUnavailable:
		level = slog.LevelError
	case status == http.StatusServiceUnavailable:
		level = slog.LevelWarn
	case route == livePath || route == readyPath || route == metricsPath:
		level = slog.LevelDebug
	}
	if !a.o.Log.Enabled(ctx, level) {
		return
	}
	attrs := make([]slog.Attr, 0, 9)
	attrs = append(attrs, slog.String("method", c.Request.Method), slog.String("route", route))
	if route == "" {
		attrs = append(attrs, slog.String("path", c.Request.URL.Path))
	}
	attrs = append(attrs,
		slog.Int("status", status),
		slog.Duration("duration", took),
		slog.Int("bytes", max(c.Writer.Size(), 0)),
	)
	if p, ok := auth.From(ctx); ok {
		attrs = append(attrs, slog.String("principal", p.Subject))
	}
	if last := c.Errors.Last(); last != nil {
		f := fault.From(last.Err)
		attrs = append(attrs, slog.String("code", f.Code))
		if status >= http.StatusInternalServerError || f.Kind == fault.Internal {
			attrs = append(attrs, slog.String("cause", last.Error()))
		}
	}
	line := slog.NewRecord(began.Add(took), level, "request", 0) // LogAttrs would look up this line of code for each request
	line.AddAttrs(attrs...)
	_ = a.o.Log.Handler().Handle(ctx, line)
}

// saneRequestID accepts what a proxy or client may choose: it goes into logs and back into a header.
func saneRequestID(id string) bool {
	if id == "" || len(id) > maxRequestID {
		return false
	}
	for i := range len(id) {
		if c := id[i]; !isAlphanumeric(c) && c != '-' && c != '_' && c != '.' && c != ':' {
			return false
		}
	}
	return true
}

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
