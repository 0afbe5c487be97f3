package rest

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"cleave/platform/telemetry"
)

func TestContinueTrace(t *testing.T) {
	t.Parallel()
	_, err := telemetry.SetupTracing(t.Context(), "none", "test", "test", slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	var got trace.SpanContext
	h := continueTrace(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = trace.SpanContextFromContext(r.Context()) }))
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	h.ServeHTTP(httptest.NewRecorder(), r)
	require.False(t, got.IsValid())
	r.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	h.ServeHTTP(httptest.NewRecorder(), r)
	require.Equal(t, "0af7651916cd43dd8448eb211c80319c", got.TraceID().String())
}

// The tracer provider is the process's, so this runs before the parallel tests.
func TestSpan(t *testing.T) {
	f := setup(t, func(o *Options) { o.Traced = true })
	f.api.engine.GET("/boom", func(*gin.Context) { panic("boom") })
	_, err := telemetry.SetupTracing(t.Context(), "none", "test", "test", slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	recorder := tracetest.NewSpanRecorder()
	otel.SetTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder)))
	t.Cleanup(func() { otel.SetTracerProvider(noop.NewTracerProvider()) })
	get := func(path string) []sdktrace.ReadOnlySpan {
		recorder.Reset()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
		r.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
		f.api.Handler().ServeHTTP(httptest.NewRecorder(), r)
		return recorder.Ended()
	}
	require.Empty(t, get(livePath))
	for path, want := range map[string]struct {
		name   string
		status int64
		code   codes.Code
	}{
		"/api/v1/notes/" + noteID: {"GET /api/v1/notes/:note_id", http.StatusUnauthorized, codes.Unset},
		"/nowhere":                {"GET", http.StatusNotFound, codes.Unset},
		"/boom":                   {"GET /boom", http.StatusInternalServerError, codes.Error},
	} {
		spans := get(path)
		require.Len(t, spans, 1, path)
		s := spans[0]
		require.Equal(t, want.name, s.Name())
		require.Equal(t, want.code, s.Status().Code, path)
		require.Equal(t, trace.SpanKindServer, s.SpanKind())
		require.Equal(t, "b7ad6b7169203331", s.Parent().SpanID().String())
		attributes := map[string]any{}
		for _, a := range s.Attributes() {
			attributes[string(a.Key)] = a.Value.AsInterface()
		}
		require.Equal(t, want.status, attributes["http.response.status_code"], path)
		require.Equal(t, path, attributes["url.path"])
		require.Equal(t, http.MethodGet, attributes["http.request.method"])
	}
}
