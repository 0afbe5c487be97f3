package rest

import (
	"net/http"

	"github.com/gin-gonic/gin"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"

	"cleave/platform/telemetry"
)

// continueTrace passes on the caller's trace, for the log, for calls of other modules and for the
// request's own span.
func continueTrace(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.Header["Traceparent"]) > 0 || len(r.Header["Baggage"]) > 0 {
			r = r.WithContext(otel.GetTextMapPropagator().Extract(r.Context(), propagation.HeaderCarrier(r.Header)))
		}
		next.ServeHTTP(w, r)
	})
}

// span starts the span of a request and returns what ends it. Names are those of OpenTelemetry's
// semantic conventions for HTTP servers. Probes have none.
//
// otelhttp would do the same and make the binary 1.6 MB larger, most of it for wrappers of
// http.ResponseWriter in every combination of interfaces.
func (a *API) span(c *gin.Context) (end func()) {
	route := c.FullPath()
	if !a.o.Traced || route == livePath || route == readyPath {
		return func() {}
	}
	name := c.Request.Method
	if route != "" {
		name += " " + route
	}
	ctx, span := telemetry.StartServer(c.Request.Context(), name)
	c.Request = c.Request.WithContext(ctx)
	span.SetAttributes(
		attribute.String("http.request.method", c.Request.Method),
		attribute.String("http.route", route),
		attribute.String("url.path", c.Request.URL.Path),
		attribute.String("client.address", c.ClientIP()),
		attribute.String("user_agent.original", c.Request.UserAgent()),
	)
	return func() {
		status := c.Writer.Status()
		span.SetAttributes(attribute.Int("http.response.status_code", status))
		if status >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}
}
